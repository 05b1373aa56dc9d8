import { hash } from 'node:crypto';
import type { Timers } from '../time/timers.ts';
import { Kademlia } from './kademlia.ts';
import type { Member, PeerId } from './member.ts';
import { compareVersions, isNewer, type MemberEntry, type MemberVersion } from './member-entry.ts';
import type { RosterChange } from './roster.ts';
import { MAX_MEMBERS, type MemberState, type Row } from './roster-messages.ts';

/** So long one that is gone can still be asked for. */
const KEEP_GONE_MS = 3_600_000;
const CHECKSUM_BYTES = 16;

/** What is known of one member. */
export interface MemberRecord {
  entry: MemberEntry;
  state: MemberState;
  /** Since when it is in this state. */
  sinceMs: number;
  /** When it last did something itself, as far as we saw; -Infinity where we know it from others alone. */
  heardMs: number;
}

const NO_CHANGE: RosterChange = { joined: [], left: [] };

/**
 * The members, and what becomes of them:
 * ```
 *              entry                  newer entry of the same start: replaced
 *   unknown ──────────▶ live ◀────────────────────────────────────┐
 *      │                 │ │  entry with `leaving`                 │ newer entry
 *      │       found dead│ └───────────────▶ left ────────────────▶│
 *      │                 └───────▶ dead ────────────────────────▶──┤
 *      └─ entry with `leaving` ──────────▶ left ────────────────▶──┘
 * ```
 * Newer is the higher (incarnation, sequence): nobody comes back by an old entry. The gone are forgotten when they are
 * too many, oldest first, and those that left after an hour.
 */
export class RosterTable {
  readonly #timers: Timers;
  readonly #selfId: PeerId;
  readonly #live = new Map<PeerId, MemberRecord>();
  /** In the order in which they went. */
  readonly #gone = new Map<PeerId, MemberRecord>();
  readonly #ring = new Kademlia();
  /** XOR of the hashes of the live ones' versions. */
  readonly #checksum = new Uint8Array(CHECKSUM_BYTES);
  /** What is computed from the live ones; undefined after a change. */
  #members: readonly Member[] | undefined;
  #ringIsOld = true;
  changedAtMs: number;

  constructor(self: MemberEntry, timers: Timers) {
    this.#timers = timers;
    this.#selfId = self.member.peerId;
    this.changedAtMs = timers.now();
    this.#mix(self);
    this.#live.set(this.#selfId, { entry: self, state: 'live', sinceMs: timers.now(), heardMs: timers.now() });
  }

  members(): readonly Member[] {
    this.#members ??= [...this.#live.values()].map(({ entry }) => entry.member);
    return this.#members;
  }

  find(peerId: PeerId): MemberRecord | undefined {
    return this.#live.get(peerId) ?? this.#gone.get(peerId);
  }

  /** As `find`, but no longer than an hour after it went. */
  get(peerId: PeerId): Member | undefined {
    const record = this.find(peerId);
    if (record === undefined) return undefined;
    if (record.state !== 'live' && this.#timers.now() - record.sinceMs > KEEP_GONE_MS) return undefined;
    return record.entry.member;
  }

  isLive(peerId: PeerId): boolean {
    return this.#live.has(peerId);
  }

  closest(key: string, count: number): Member[] {
    if (this.#ringIsOld) {
      this.#ring.replace(this.#live.keys());
      this.#ringIsOld = false;
    }
    return this.#ring.closest(key, count).flatMap((peerId) => this.#live.get(peerId)?.entry.member ?? []);
  }

  /** How many live members did something themselves that this agent saw. */
  met(): number {
    let count = 0;
    for (const { heardMs } of this.#live.values()) if (heardMs !== Number.NEGATIVE_INFINITY) count += 1;
    return count;
  }

  /** Who went within the last hour, the first to go first. */
  gone(): MemberRecord[] {
    const nowMs = this.#timers.now();
    return [...this.#gone.values()].filter(({ sinceMs }) => nowMs - sinceMs <= KEEP_GONE_MS);
  }

  dead(): MemberRecord[] {
    return [...this.#gone.values()].filter(({ state }) => state === 'dead');
  }

  rows(): Row[] {
    return [...this.#live.values(), ...this.#gone.values()].map(({ entry: { member }, state }) => [
      member.peerId,
      member.incarnation,
      member.sequence,
      state,
    ]);
  }

  /** The same wherever the same members, with the same entries, are live. */
  checksum(): string {
    return Buffer.from(this.#checksum).toString('base64url');
  }

  heard(peerId: PeerId): void {
    const record = this.#live.get(peerId);
    if (record !== undefined) record.heardMs = this.#timers.now();
  }

  /** Would `take` take it? Asked before signatures are checked. */
  wants(entry: MemberEntry, firstHand: boolean): boolean {
    const known = this.find(entry.member.peerId);
    if (known !== undefined) return isNewer(entry, known.entry);
    // News overtake each other: whose leaving comes first shall not join by what was said before it.
    if (entry.member.leaving) return this.#gone.size < MAX_MEMBERS;
    return this.#live.size < MAX_MEMBERS || (firstHand && this.#unheard() !== undefined);
  }

  /** @param firstHand it comes from the very member, not from another that has it. */
  take(entry: MemberEntry, firstHand: boolean): RosterChange {
    if (!this.wants(entry, firstHand)) return NO_CHANGE;
    const { member } = entry;
    const known = this.find(member.peerId);
    const wasLive = known?.state === 'live' ? known.entry.member : undefined;
    const heardMs = firstHand ? this.#timers.now() : Number.NEGATIVE_INFINITY;
    if (member.leaving) {
      if (wasLive !== undefined) return this.#go(member.peerId, entry, 'left');
      if (known !== undefined) Object.assign(known, { entry, state: 'left' });
      else this.#gone.set(member.peerId, this.#goneNow(entry, 'left'));
      return NO_CHANGE;
    }
    if (known !== undefined && wasLive?.incarnation === member.incarnation) {
      // An address, a zone, or only the sequence: the same members as before.
      this.#mix(known.entry);
      this.#mix(entry);
      known.entry = entry;
      known.heardMs = Math.max(known.heardMs, heardMs);
      this.#members = undefined;
      return NO_CHANGE;
    }
    const left = wasLive === undefined ? [] : [{ member: wasLive, leaving: false }];
    if (known === undefined && this.#live.size >= MAX_MEMBERS) left.push(...this.#displace());
    this.#gone.delete(member.peerId);
    this.#drop(member.peerId);
    this.#mix(entry);
    this.#live.set(member.peerId, { entry, state: 'live', sinceMs: this.#timers.now(), heardMs });
    this.#changed();
    return { joined: [member], left };
  }

  /** It does not answer. Nothing happens where it is not live, or has told something newer since. */
  die(peerId: PeerId, version: MemberVersion): RosterChange {
    const record = this.#live.get(peerId);
    if (record === undefined || peerId === this.#selfId) return NO_CHANGE;
    if (compareVersions(record.entry.member, version) > 0) return NO_CHANGE;
    return this.#go(peerId, record.entry, 'dead');
  }

  /** Those that left long ago are forgotten. The dead are not: they may be behind a network that heals. */
  sweep(): void {
    const nowMs = this.#timers.now();
    for (const [peerId, { state, sinceMs }] of this.#gone) {
      if (state === 'left' && nowMs - sinceMs > KEEP_GONE_MS) this.#gone.delete(peerId);
    }
  }

  #go(peerId: PeerId, entry: MemberEntry, state: 'left' | 'dead'): RosterChange {
    const member = this.#drop(peerId)?.entry.member ?? entry.member;
    this.#gone.set(peerId, this.#goneNow(entry, state));
    for (const oldest of this.#gone.keys()) {
      if (this.#gone.size <= MAX_MEMBERS) break;
      this.#gone.delete(oldest);
    }
    this.#changed();
    return { joined: [], left: [{ member, leaving: state === 'left' }] };
  }

  #goneNow(entry: MemberEntry, state: 'left' | 'dead'): MemberRecord {
    return { entry, state, sinceMs: this.#timers.now(), heardMs: Number.NEGATIVE_INFINITY };
  }

  /** One that is only hearsay makes room. */
  #displace(): { readonly member: Member; readonly leaving: boolean }[] {
    const record = this.#unheard();
    if (record === undefined) return [];
    this.#drop(record.entry.member.peerId);
    return [{ member: record.entry.member, leaving: false }];
  }

  #unheard(): MemberRecord | undefined {
    for (const record of this.#live.values()) {
      if (record.heardMs === Number.NEGATIVE_INFINITY) return record;
    }
    return undefined;
  }

  #drop(peerId: PeerId): MemberRecord | undefined {
    const record = this.#live.get(peerId);
    if (record !== undefined) this.#mix(record.entry);
    this.#live.delete(peerId);
    return record;
  }

  /** Into the checksum, or out of it. */
  #mix({ member: { peerId, incarnation, sequence } }: MemberEntry): void {
    const part = hash('sha256', `${peerId} ${incarnation} ${sequence}`, 'buffer');
    for (let at = 0; at < CHECKSUM_BYTES; at += 1) this.#checksum[at] = (this.#checksum[at] ?? 0) ^ (part[at] ?? 0);
  }

  #changed(): void {
    this.#members = undefined;
    this.#ringIsOld = true;
    this.changedAtMs = this.#timers.now();
  }
}
