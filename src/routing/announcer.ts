import type { Logger } from 'pino';
import { DigestChecksum } from './digest-checksum.ts';
import { doneAnswerSchema } from './index-messages.ts';
import type { KeeperIndex } from './keeper-index.ts';
import type { Member, PeerId } from './member.ts';
import { packDigests } from './packed-digests.ts';
import type { PeerCalls } from './peer-calls.ts';
import type { Roster } from './roster.ts';
import type { Timers } from './timers.ts';

const CALL_MS = 10_000;
/** Changes wait up to so long for others to the same keeper. */
const ANNOUNCE_MS = 10_000;
const CONFIRM_MS = 600_000;
/** After a start: if so many keepers still know all that is held here, the others do as well. */
const SAMPLED_KEEPERS = 3;
/** With a member that is new we compare after so long: by then it has its range from its neighbours. */
const NEWCOMER_MS = 5_000;

export interface KnownTag {
  readonly key: string;
  /** JSON of its record. */
  readonly bytes: Uint8Array;
  readonly ageMs: number;
}

export interface AnnouncerOptions {
  readonly roster: Roster;
  readonly calls: PeerCalls;
  /** For keys that this agent keeps itself. */
  readonly index: KeeperIndex;
  readonly timers: Timers;
  /** The tags whose answers are known here. */
  readonly tags: () => Promise<readonly KnownTag[]>;
  readonly logger: Logger;
  /** From 0 up to 1. */
  readonly random?: () => number;
  readonly announceMs?: number;
  readonly confirmMs?: number;
}

/** What one other agent keeps of what is known here. */
interface Kept {
  readonly member: Member;
  readonly digests: string[];
  readonly tags: KnownTag[];
}

/**
 * Tells keepers what is held here: changes in batches, one call a keeper; everything only where a keeper's count and
 * checksum differ from ours. So a rolling update, in which keepers hand over what they know, announces nothing again.
 *
 * ```
 *  start ──▶ compare with 3 keepers ── all agree ──▶ idle ◀── each 10 min: compare with all
 *                     └── one differs ──▶ full to all      └─ differs ─▶ full to that one
 *  advertise, withdraw ──▶ pending by keeper ── within 10 s ──▶ announce
 * ```
 */
export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #random: () => number;
  readonly #digests = new Set<string>();
  readonly #pending = new Map<PeerId, { readonly add: Set<string>; readonly remove: Set<string> }>();
  /** Members that this agent has seen: a restart of one of them is no news. */
  readonly #seen = new Set<PeerId>();
  readonly #stop = new AbortController();
  #cancelFlush: (() => void) | undefined;
  #started = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** To be called once, when other members are known, or there are none. */
  async start(held: Iterable<string>): Promise<void> {
    this.#started = true;
    const { roster } = this.#options;
    for (const digest of held) this.#digests.add(digest);
    for (const { peerId } of roster.members()) this.#seen.add(peerId);
    const unsubscribe = roster.subscribe(({ joined }) => this.#joined(joined));
    this.#stop.signal.addEventListener('abort', unsubscribe, { once: true });
    this.#keepOwn(this.#digests);
    this.#everyConfirm();
    const keepers = [...this.#byKeeper(await this.#options.tags()).values()];
    const sample = shuffled(keepers, this.#random).slice(0, SAMPLED_KEEPERS);
    const agreed = await Promise.all(sample.map((keeper) => this.#agrees(keeper)));
    if (agreed.every(Boolean)) return;
    await Promise.all(keepers.map((keeper) => this.#announceAll(keeper)));
  }

  stop(): void {
    this.#cancelFlush?.();
    this.#stop.abort(new Error('the announcer stops'));
  }

  advertise(digests: Iterable<string>): void {
    for (const digest of digests) {
      if (this.#digests.has(digest)) continue;
      this.#digests.add(digest);
      this.#queue(digest, 'add');
    }
  }

  withdraw(digests: Iterable<string>): void {
    for (const digest of digests) {
      if (this.#digests.delete(digest)) this.#queue(digest, 'remove');
    }
  }

  /** Tells what waits now: before leaving, and in tests. */
  async flush(): Promise<void> {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    const pending = [...this.#pending];
    this.#pending.clear();
    await Promise.all(
      pending.map(async ([peerId, { add, remove }]) => {
        const member = this.#options.roster.get(peerId);
        if (member === undefined || !this.#options.roster.isLive(peerId)) return;
        await this.#call(member, {
          type: 'announce',
          full: false,
          add: packDigests(add),
          remove: packDigests(remove),
          tags: [],
        });
      }),
    );
  }

  #queue(digest: string, change: 'add' | 'remove'): void {
    const { roster, index, timers } = this.#options;
    const key = `blob:${digest}`;
    for (const { peerId } of roster.keepers(key)) {
      if (peerId === roster.self.peerId) {
        index[change](key, peerId);
        continue;
      }
      const pending = this.#pending.get(peerId) ?? { add: new Set(), remove: new Set() };
      pending[change].add(digest);
      pending[change === 'add' ? 'remove' : 'add'].delete(digest);
      this.#pending.set(peerId, pending);
    }
    if (!this.#started || this.#pending.size === 0) return;
    const waitMs = (this.#options.announceMs ?? ANNOUNCE_MS) * this.#random();
    this.#cancelFlush ??= timers.after(waitMs, () => void this.flush());
  }

  #joined(joined: readonly Member[]): void {
    this.#keepOwn(this.#digests);
    const fresh = joined.filter(({ peerId }) => !this.#seen.has(peerId));
    for (const { peerId } of fresh) this.#seen.add(peerId);
    if (fresh.length === 0) return;
    const waitMs = NEWCOMER_MS * (1 + this.#random());
    this.#options.timers.after(waitMs, () => void this.#compare(new Set(fresh.map(({ peerId }) => peerId))));
  }

  #everyConfirm(): void {
    const everyMs = this.#options.confirmMs ?? CONFIRM_MS;
    this.#options.timers.after(everyMs * (0.9 + 0.2 * this.#random()), () => {
      if (this.#stop.signal.aborted) return;
      void this.#compare(undefined);
      this.#everyConfirm();
    });
  }

  /** Compares with these keepers (all, if none are named), and tells those who know something else. */
  async #compare(only: ReadonlySet<PeerId> | undefined): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await this.flush();
    for (const keeper of this.#byKeeper(await this.#options.tags()).values()) {
      if (only?.has(keeper.member.peerId) === false) continue;
      if (!(await this.#agrees(keeper))) await this.#announceAll(keeper);
    }
  }

  /** What is known here, by who keeps it; others than this agent. */
  #byKeeper(tags: readonly KnownTag[]): Map<PeerId, Kept> {
    const { roster, index } = this.#options;
    const byKeeper = new Map<PeerId, Kept>();
    const keptBy = (key: string): Kept[] => {
      const others = roster.keepers(key).filter(({ peerId }) => peerId !== roster.self.peerId);
      return others.map((member) => {
        const kept = byKeeper.get(member.peerId) ?? { member, digests: [], tags: [] };
        byKeeper.set(member.peerId, kept);
        return kept;
      });
    };
    for (const digest of this.#digests) {
      for (const kept of keptBy(`blob:${digest}`)) kept.digests.push(digest);
    }
    for (const tag of tags) {
      index.setLastKnown(tag.key, tag);
      for (const kept of keptBy(tag.key)) kept.tags.push(tag);
    }
    return byKeeper;
  }

  #keepOwn(digests: Iterable<string>): void {
    const { roster, index } = this.#options;
    for (const digest of digests) {
      const key = `blob:${digest}`;
      if (roster.keepers(key).some(({ peerId }) => peerId === roster.self.peerId)) index.add(key, roster.self.peerId);
    }
  }

  async #agrees({ member, digests }: Kept): Promise<boolean> {
    const checksum = new DigestChecksum();
    for (const digest of digests) checksum.add(`blob:${digest}`);
    const answer = await this.#call(member, { type: 'confirm', count: checksum.count, checksum: checksum.text() });
    // One that does not answer is not told more either.
    return answer === undefined || answer;
  }

  async #announceAll({ member, digests, tags }: Kept): Promise<void> {
    await this.#call(member, {
      type: 'announce',
      full: true,
      add: packDigests(digests),
      remove: packDigests([]),
      tags: tags.map(({ key, bytes, ageMs }) => ({ key, bytes: Buffer.from(bytes).toString('base64'), ageMs })),
    });
  }

  async #call(member: Member, body: unknown): Promise<boolean | undefined> {
    const { calls, logger } = this.#options;
    try {
      const answer = await calls.call(member, 'index', body, { signal: this.#stop.signal, timeoutMs: CALL_MS });
      return doneAnswerSchema.parse(answer).ok;
    } catch (error) {
      // It will be compared again; until then its deputies know.
      if (!this.#stop.signal.aborted) logger.debug({ peer: member.nodeName, err: error }, 'index call failed');
      return undefined;
    }
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
