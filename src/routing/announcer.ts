import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Timers } from '../time/timers.ts';
import { CallTurns } from './call-turns.ts';
import { DigestChecksum } from './digest-checksum.ts';
import { fewAtOnce } from './few-at-once.ts';
import { doneAnswerSchema } from './index-messages.ts';
import type { KeeperIndex } from './keeper-index.ts';
import { type Kept, type KnownTag, keptByKeeper } from './kept.ts';
import type { Member, PeerId } from './member.ts';
import { packDigests } from './packed-digests.ts';
import type { PeerCalls } from './peer-calls.ts';
import type { Roster } from './roster.ts';
import { sample } from './sample.ts';

const CALL_MS = 10_000;
/** Changes wait up to so long for others to the same keeper. */
const ANNOUNCE_MS = 10_000;
const CONFIRM_MS = 600_000;
/** Keepers compared with at a time while all agree: with all of them, an idle cluster's calls would grow with its square. */
const CONFIRMED_KEEPERS = 16;
/** After a start: if so many keepers still know all that is held here, the others do as well. */
const SAMPLED_KEEPERS = 3;
/** With a member that is new we compare after so long: by then it has its range from its neighbours. */
const NEWCOMER_MS = 5_000;
const MAX_SEEN = 20_000;

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

/**
 * Tells keepers what is held here: changes in batches, one call a keeper; everything only where a keeper's count and
 * checksum differ from ours, or it lacks a tag. So a rolling update, in which keepers hand over what they know,
 * announces nothing again.
 *
 * ```
 *  start ──▶ compare with 3 keepers ── all agree ──▶ idle ◀── each 10 min: compare with 16, in turn
 *                     └── one differs ──▶ full to all      └─ differs ─▶ full to that one, compare with all
 *  advertise, withdraw ──▶ pending by keeper ── within 10 s ──▶ announce
 * ```
 */
export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #random: () => number;
  readonly #digests = new Set<string>();
  readonly #pending = new Map<PeerId, { readonly add: Set<string>; readonly remove: Set<string> }>();
  /** Incarnations of members that this agent has seen: a restart of one of them is no news. */
  readonly #seen = new LRUCache<PeerId, number>({ max: MAX_SEEN });
  /** New ones, and those that did not answer, since when, that are still to be compared with. */
  readonly #fresh = new LRUCache<PeerId, number>({ max: MAX_SEEN });
  #cancelFresh: (() => void) | undefined;
  /** One call a keeper at a time: all that is held must not be told after a change that it does not know of. */
  readonly #turns = new CallTurns();
  /** What is being compared and told now: keepers take their turns, and what is held changes meanwhile. */
  readonly #telling = new Set<ReadonlyMap<PeerId, Kept>>();
  readonly #stop = new AbortController();
  #cancelFlush: (() => void) | undefined;
  /** The last of them, in the order of their ids, that was compared with in its turn. */
  #confirmedTo: PeerId = '';
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
    for (const { peerId, incarnation } of roster.members()) this.#seen.set(peerId, incarnation);
    const unsubscribe = roster.subscribe(({ joined }) => this.#joined(joined));
    this.#stop.signal.addEventListener('abort', unsubscribe, { once: true });
    this.#keepOwn(this.#digests);
    this.#everyConfirm();
    const tags = await this.#tags();
    await this.#withKeepers(tags, async (keepers) => {
      const some = sample(keepers, SAMPLED_KEEPERS, this.#random);
      const agreed = await Promise.all(some.map((keeper) => this.#agrees(keeper)));
      // Silence is no consent here: in a crowd that starts together, nothing would be told to anybody.
      if (agreed.every((answer) => answer === true)) return;
      await fewAtOnce(keepers, (keeper) => this.#announceAll(keeper));
    });
  }

  stop(): void {
    this.#cancelFlush?.();
    this.#cancelFresh?.();
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
  async flush(signal: AbortSignal = this.#stop.signal): Promise<void> {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    await fewAtOnce([...this.#pending.keys()], (peerId) => this.#tell(peerId, signal));
  }

  #tell(peerId: PeerId, signal: AbortSignal): Promise<void> {
    return this.#turns.take(peerId, signal, async () => {
      const pending = this.#pending.get(peerId);
      const member = this.#options.roster.get(peerId);
      this.#pending.delete(peerId);
      if (pending === undefined || member === undefined || !this.#options.roster.isLive(peerId)) return;
      const add = packDigests(pending.add);
      const remove = packDigests(pending.remove);
      await this.#call(member, { type: 'announce', full: false, add, remove, tags: [] }, signal);
    });
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
      if (change === 'add') for (const byKeeper of this.#telling) byKeeper.get(peerId)?.digests.add(digest);
    }
    if (!this.#started || this.#pending.size === 0) return;
    const waitMs = (this.#options.announceMs ?? ANNOUNCE_MS) * this.#random();
    this.#cancelFlush ??= timers.after(waitMs, () => void this.flush());
  }

  #joined(joined: readonly Member[]): void {
    this.#keepOwn(this.#digests);
    for (const { peerId, incarnation } of joined) {
      // One that is back without a restart was thought dead, and told nothing meanwhile.
      if ((this.#seen.get(peerId) ?? incarnation) === incarnation) this.#compareSoon(peerId);
      this.#seen.set(peerId, incarnation);
    }
  }

  #compareSoon(peerId: PeerId): void {
    const { timers } = this.#options;
    this.#fresh.set(peerId, timers.now());
    this.#compareFresh();
  }

  /** All that came within some seconds together: a crowd is one comparison. */
  #compareFresh(): void {
    const { timers } = this.#options;
    this.#cancelFresh ??= timers.after(NEWCOMER_MS * (1 + this.#random()), () => {
      this.#cancelFresh = undefined;
      const due = [...this.#fresh.entries()].filter(([, sinceMs]) => timers.now() - sinceMs >= NEWCOMER_MS);
      for (const [peerId] of due) this.#fresh.delete(peerId);
      if (this.#fresh.size > 0) this.#compareFresh();
      const chosen = new Set(due.map(([peerId]) => peerId));
      void this.#compare((keepers) => keepers.filter(({ member }) => chosen.has(member.peerId)));
    });
  }

  #everyConfirm(): void {
    const everyMs = this.#options.confirmMs ?? CONFIRM_MS;
    this.#options.timers.after(everyMs * (0.9 + 0.2 * this.#random()), () => {
      if (this.#stop.signal.aborted) return;
      this.#keepOwn(this.#digests);
      void this.#compare((keepers) => this.#inTurn(keepers), CONFIRMED_KEEPERS);
      this.#everyConfirm();
    });
  }

  /** From the one behind the last that was compared with in its turn. */
  #inTurn(keepers: readonly Kept[]): Kept[] {
    const ordered = keepers.toSorted((a, b) => (a.member.peerId < b.member.peerId ? -1 : 1));
    const isBehind = ({ member }: Kept) => member.peerId > this.#confirmedTo;
    const next = [...ordered.filter(isBehind), ...ordered.filter((kept) => !isBehind(kept))];
    this.#confirmedTo = next.slice(0, CONFIRMED_KEEPERS).at(-1)?.member.peerId ?? '';
    return next;
  }

  /** Compares with some keepers, and tells those who know something else. @param enough so many, unless one of them does. */
  async #compare(
    choose: (keepers: readonly Kept[]) => readonly Kept[],
    enough = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await this.flush();
    await this.#withKeepers(await this.#tags(), async (keepers) => {
      let left = enough;
      for (const keeper of choose(keepers)) {
        if (left <= 0) break;
        left -= 1;
        // What waits is no difference.
        await this.#tell(keeper.member.peerId, this.#stop.signal);
        // One that does not answer is not told more either.
        if ((await this.#agrees(keeper)) !== false) continue;
        await this.#announceAll(keeper);
        // What one has forgotten others may have as well.
        left = Number.POSITIVE_INFINITY;
      }
    });
  }

  /** What holds digests is told whatever becomes of the tags. */
  async #tags(): Promise<readonly KnownTag[]> {
    try {
      return await this.#options.tags();
    } catch (err) {
      this.#options.logger.warn({ err }, 'tags cannot be read: others are not told of them');
      return [];
    }
  }

  async #withKeepers(tags: readonly KnownTag[], use: (keepers: readonly Kept[]) => Promise<void>): Promise<void> {
    const { roster, index, timers } = this.#options;
    for (const tag of tags) index.setLastKnown(tag.key, tag);
    const byKeeper = keptByKeeper(roster, this.#digests, tags, timers.now());
    this.#telling.add(byKeeper);
    try {
      await use([...byKeeper.values()]);
    } finally {
      this.#telling.delete(byKeeper);
    }
  }

  /** What was withdrawn since it was listed is not told again. */
  #held({ digests }: Kept): string[] {
    return [...digests].filter((digest) => this.#digests.has(digest));
  }

  #keepOwn(digests: Iterable<string>): void {
    const { roster, index } = this.#options;
    for (const digest of digests) {
      const key = `blob:${digest}`;
      if (roster.keepers(key).some(({ peerId }) => peerId === roster.self.peerId)) index.add(key, roster.self.peerId);
    }
  }

  #agrees(kept: Kept): Promise<boolean | undefined> {
    const { member } = kept;
    return this.#turns.take(member.peerId, this.#stop.signal, () => {
      const checksum = new DigestChecksum();
      for (const digest of this.#held(kept)) checksum.add(`blob:${digest}`);
      const tags = kept.tagsAt(this.#options.timers.now()).map(({ key }) => key);
      return this.#call(member, { type: 'confirm', count: checksum.count, checksum: checksum.text(), tags });
    });
  }

  async #announceAll(kept: Kept): Promise<void> {
    const { member } = kept;
    await this.#turns.take(member.peerId, this.#stop.signal, () => {
      const add = packDigests(this.#held(kept));
      const tags = kept.tagsAt(this.#options.timers.now());
      return this.#call(member, { type: 'announce', full: true, add, remove: packDigests([]), tags });
    });
  }

  async #call(member: Member, body: unknown, signal = this.#stop.signal): Promise<boolean | undefined> {
    const { calls, logger } = this.#options;
    try {
      const answer = await calls.call(member, 'index', body, { signal, timeoutMs: CALL_MS });
      return doneAnswerSchema.parse(answer).ok;
    } catch (error) {
      if (!signal.aborted) logger.debug({ peer: member.nodeName, err: error }, 'index call failed');
      // It will be compared again, for as long as it is a member; until then its deputies know.
      if (!signal.aborted && this.#options.roster.isLive(member.peerId)) this.#compareSoon(member.peerId);
      return undefined;
    }
  }
}
