import { hasCode } from '../../errors.ts';
import type { Member, PeerId } from '../../routing/member.ts';
import type { Roster } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import type { Entry } from './entry.ts';
import type { KeeperCalls } from './keeper-calls.ts';
import type { KeeperLinks } from './keeper-context.ts';
import { maySpeakFor } from './keepers-of.ts';
import { type Copy, recallAnswerSchema, revokeAnswerSchema, unknownAnswerSchema } from './messages.ts';
import { Rejoined } from './rejoined.ts';

const RECALL_MS = 250;
const SOON_MS = 20;
const LATER_MS = 500;
/** Of one call; a copy with inline bytes has some 90 KB, one of a large tree 1 MB. */
const MAX_COPIES = 40;
const MAX_CHANGED = 10_000;

export interface DeputiesOptions {
  readonly roster: Roster;
  readonly timers: Timers;
  readonly calls: KeeperCalls;
  /** Undefined where there is nothing to be told yet; `changed` comes again then. */
  copyOf(entry: Entry): Copy | undefined;
  /** Of a writer on this very node. */
  revokeHere(key: string, grant: string): boolean;
}

/**
 * The other keepers of the keys that this agent keeps. What changes goes to them without anybody waiting, several
 * changes in one call, one call at a time to each: the latest state counts, not each change.
 */
export class Deputies implements KeeperLinks {
  readonly #options: DeputiesOptions;
  readonly #rejoined: Rejoined;
  readonly #stop = new AbortController();
  readonly #changed = new Map<PeerId, Map<string, Entry>>();
  readonly #sending = new Set<PeerId>();
  #flush: { readonly atMs: number; readonly cancel: () => void } | undefined;

  constructor(options: DeputiesOptions) {
    this.#options = options;
    this.#rejoined = new Rejoined(options.roster, options.timers);
  }

  async recall(key: string): Promise<readonly Copy[]> {
    const { calls, roster } = this.#options;
    const deputies = this.#othersOf(key);
    const back = this.#rejoined
      .keepers(key)
      .filter((member) => !calls.isLeftOut(member.peerId) && !deputies.some(({ peerId }) => peerId === member.peerId));
    const answers = await Promise.all([
      ...deputies.map((member) => this.#recallFrom(member, key)),
      ...back.map(async (member) => {
        const copy = await this.#recallFrom(member, key);
        // As often as it lets us wait, every key would.
        if (copy === undefined) this.#rejoined.forget(member.peerId);
        if (copy === undefined || copy === null || maySpeakFor(roster, key, member.peerId)) return copy;
        // Who holds a blob can be tried; what upstream said is believed of those alone that are near the key.
        const { inline: _inline, sizeBytes: _sizeBytes, ...rest } = copy;
        return { ...rest, failures: [] };
      }),
    ]);
    return answers.filter((copy) => copy !== undefined && copy !== null);
  }

  changed(entry: Entry, soon: boolean): void {
    for (const { peerId } of this.#othersOf(entry.key)) {
      const entries = this.#changed.get(peerId) ?? new Map<string, Entry>();
      this.#changed.set(peerId, entries);
      if (entries.size < MAX_CHANGED) entries.set(entry.key, entry);
    }
    if (this.#changed.size > 0) this.#flushAfter(soon ? SOON_MS : LATER_MS);
  }

  async revoke(peerId: PeerId, key: string, grant: string): Promise<boolean> {
    const { roster, calls, revokeHere } = this.#options;
    if (peerId === roster.self.peerId) return revokeHere(key, grant);
    const member = roster.get(peerId);
    if (member === undefined) return false;
    try {
      await calls.ask(member, { type: 'revoke', key, grant }, revokeAnswerSchema, { signal: this.#stop.signal });
      return true;
    } catch (error) {
      // Refused or reset: that process is no more, or nobody can read from it.
      return hasCode(error, 'PEER_GONE');
    }
  }

  stop(): void {
    this.#stop.abort();
    this.#rejoined.stop();
    this.#flush?.cancel();
    this.#changed.clear();
  }

  /** @returns null where it knows nothing of the key, or may not say so yet; undefined where it does not answer. */
  async #recallFrom(member: Member, key: string): Promise<Copy | null | undefined> {
    const options = { signal: this.#stop.signal, hurryMs: RECALL_MS };
    try {
      const copy = await this.#options.calls.ask(member, { type: 'recall', key }, recallAnswerSchema, options);
      return copy?.key === key ? copy : null;
    } catch (error) {
      // Its view of who is there may be older than ours: denied now, it may answer for the next key.
      return hasCode(error, 'PEER_SILENT', 'PEER_GONE') ? undefined : null;
    }
  }

  #othersOf(key: string): Member[] {
    const { roster, calls } = this.#options;
    return roster.keepers(key).filter(({ peerId }) => peerId !== roster.self.peerId && !calls.isLeftOut(peerId));
  }

  #flushAfter(ms: number): void {
    const { timers } = this.#options;
    const atMs = timers.now() + ms;
    if (this.#stop.signal.aborted || (this.#flush !== undefined && this.#flush.atMs <= atMs)) return;
    this.#flush?.cancel();
    const cancel = timers.after(ms, () => {
      this.#flush = undefined;
      for (const peerId of [...this.#changed.keys()]) void this.#send(peerId);
    });
    this.#flush = { atMs, cancel };
  }

  async #send(peerId: PeerId): Promise<void> {
    const { roster, calls, copyOf } = this.#options;
    const member = roster.get(peerId);
    const entries = this.#changed.get(peerId);
    if (entries === undefined || this.#sending.has(peerId)) return;
    if (member === undefined || !roster.isLive(peerId)) {
      this.#changed.delete(peerId);
      return;
    }
    const some = [...entries.values()].slice(0, MAX_COPIES);
    for (const { key } of some) entries.delete(key);
    if (entries.size === 0) this.#changed.delete(peerId);
    this.#sending.add(peerId);
    try {
      const copies = some.map(copyOf).filter((copy) => copy !== undefined);
      const body = { type: 'copies' as const, copies };
      if (copies.length > 0) await calls.ask(member, body, unknownAnswerSchema, { signal: this.#stop.signal });
    } catch {
      // It is a copy: what changes next is copied again, and a deputy that lacks one asks the writer's renewal.
    } finally {
      this.#sending.delete(peerId);
    }
    if (this.#changed.has(peerId)) this.#flushAfter(SOON_MS);
  }
}
