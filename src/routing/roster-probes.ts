import { LRUCache } from 'lru-cache';
import type { Timers } from '../time/timers.ts';
import type { Member, PeerId } from './member.ts';
import { compareVersions, type MemberVersion } from './member-entry.ts';
import type { RosterTable } from './roster-table.ts';

/** Members that are probed at the same time. */
const MAX_AT_ONCE = 16;
const SILENCES = 2;
const GONES = 2;
const WITNESSES = 3;
/** Who was heard so lately is asked a little later whether it is dead, as others say. */
const FRESH_MS = 1_000;
/** Who was heard so lately is asked before it is believed to be dead, however many say so. */
const RECENT_MS = 3_000;
/** A member's word on others counts when it has been here for so long: not as it comes back from a partition. */
const SETTLED_MS = 60_000;
const ACCUSERS = 2;
const MAX_ACCUSERS = 8;
/** When so many have told a death, one more need not. */
const TOLD_ENOUGH = 3;
/** Whoever called a member dead that answered is not listened to for so long. */
const DISTRUST_MS = 30_000;
/** How many members may ask one that is called dead, in about what time: some 30 a second. */
const MS_A_MEMBER = 30;
const MAX_DELAY_MS = 10_000;

/** unknown: this agent could not ask, or had no time to hear the answer. */
export type Finding = 'alive' | 'gone' | 'silent' | 'unknown';

export interface RosterProbesOptions {
  readonly selfId: PeerId;
  readonly table: RosterTable;
  readonly timers: Timers;
  readonly random: () => number;
  /** One cheap call with a bound of its own; an answer's entry is taken. Never rejects. */
  readonly probe: (member: Member, calledDead: MemberVersion | undefined) => Promise<Finding>;
  /** Does `target` answer `witness`? False where the witness does not answer. Never rejects. */
  readonly ask: (witness: Member, target: PeerId) => Promise<boolean>;
  /** @param tell whether others should be told */
  readonly onDead: (peerId: PeerId, version: MemberVersion, tell: boolean) => void;
}

/** One member that is being looked at. */
interface Inquiry {
  gones: number;
  silences: number;
  calledDead: boolean;
  readonly accusers: Set<PeerId>;
  /** Until it begins. */
  cancel: (() => void) | undefined;
  running: boolean;
}

/**
 * Who is dead.
 * ```
 *                 a call failed: gone or silent;  others say that it is dead; every 5 s one in turn
 *   live ──────────────────────────────▶ probed ── answers ─────────────────────────────▶ live
 *    ▲                                    │  │
 *    │            refused or reset,       │  │ silent twice                one is answered
 *    │            the second time ────────┤  ├──▶ three others ask it ────────────────────▶ live
 *    │            (the report counts)     │  │         │ none is answered
 *    │            or others say so too ───┤  │         │
 *    │                                    ▼  ▼         ▼
 *    └── newer entry ◀── probed ◀──────── dead, and told to all
 * ```
 * - What others say (they have found out by the rule above) leads to one probe of one's own, which tells the member
 *   what is said of it: if it lives, it signs a newer entry, which undoes the death everywhere. The three members
 *   nearest to it probe at once, the others after a random while, so that a rumour costs it some 30 probes a second.
 * - Two members that have been here for a minute, and were heard by this agent itself, are believed without a probe if
 *   the member was not heard in the last 3 s. One liar removes nobody; two are undone by the member's next entry.
 * - Who accused a member that answered is not listened to for half a minute.
 * - The dead are probed as well: when they are heard of, and one in turn every 10 s for ever. So partitions heal.
 */
export class RosterProbes {
  readonly #options: RosterProbesOptions;
  readonly #inquiries = new Map<PeerId, Inquiry>();
  readonly #waiting: PeerId[] = [];
  readonly #distrusted = new LRUCache<PeerId, number>({ max: 1_000 });
  #running = 0;
  #stopped = false;

  constructor(options: RosterProbesOptions) {
    this.#options = options;
  }

  /** A call to it failed. */
  suspect(peerId: PeerId, how: 'gone' | 'silent'): void {
    if (!this.#options.table.isLive(peerId)) return;
    const inquiry = this.#inquiryOf(peerId);
    if (inquiry === undefined || inquiry.running) return;
    // One event breaks many connections: reports count once, then only what is found by probes.
    if (how === 'gone') inquiry.gones = 1;
    this.#begin(peerId, inquiry);
  }

  /** Probed as a matter of course, or since there is some reason to think that it is back. */
  look(peerId: PeerId): void {
    const inquiry = this.#inquiryOf(peerId);
    if (inquiry !== undefined && !inquiry.running) this.#begin(peerId, inquiry);
  }

  /** `by` says that it is dead, as of this entry. */
  accuse(peerId: PeerId, version: MemberVersion, by: PeerId): void {
    const { table, timers, selfId } = this.#options;
    const record = table.find(peerId);
    if (record?.state !== 'live' || peerId === selfId || by === peerId) return;
    if (compareVersions(record.entry.member, version) > 0) return;
    const nowMs = timers.now();
    if ((this.#distrusted.get(by) ?? 0) > nowMs) return;
    const inquiry = this.#inquiryOf(peerId);
    if (inquiry === undefined) return;
    inquiry.calledDead = true;
    if (inquiry.accusers.size < MAX_ACCUSERS) inquiry.accusers.add(by);
    const settled = [...inquiry.accusers].filter((accuser) => this.#counts(accuser));
    if (settled.length >= ACCUSERS && nowMs - record.heardMs > RECENT_MS) {
      this.#declareDead(peerId, record.entry.member, true);
      return;
    }
    if (inquiry.running || inquiry.cancel !== undefined) return;
    const freshMs = Math.max(0, record.heardMs + FRESH_MS - nowMs);
    inquiry.cancel = timers.after(freshMs + this.#delay(peerId), () => {
      inquiry.cancel = undefined;
      this.#begin(peerId, inquiry);
    });
  }

  /** It said itself that it is not dead. */
  refuted(peerId: PeerId): void {
    const inquiry = this.#inquiries.get(peerId);
    if (inquiry !== undefined && !inquiry.running) this.#drop(peerId, inquiry);
  }

  stop(): void {
    this.#stopped = true;
    for (const { cancel } of this.#inquiries.values()) cancel?.();
    this.#inquiries.clear();
    this.#waiting.length = 0;
  }

  #inquiryOf(peerId: PeerId): Inquiry | undefined {
    const { table, selfId } = this.#options;
    const record = table.find(peerId);
    if (this.#stopped || peerId === selfId || record === undefined || record.state === 'left') return undefined;
    let inquiry = this.#inquiries.get(peerId);
    if (inquiry === undefined) {
      inquiry = { gones: 0, silences: 0, calledDead: false, accusers: new Set(), cancel: undefined, running: false };
      this.#inquiries.set(peerId, inquiry);
    }
    return inquiry;
  }

  #begin(peerId: PeerId, inquiry: Inquiry): void {
    inquiry.cancel?.();
    inquiry.cancel = undefined;
    inquiry.running = true;
    this.#waiting.push(peerId);
    this.#next();
  }

  #next(): void {
    while (this.#running < MAX_AT_ONCE) {
      const peerId = this.#waiting.shift();
      if (peerId === undefined) return;
      const inquiry = this.#inquiries.get(peerId);
      if (inquiry === undefined) continue;
      this.#running += 1;
      void this.#inquire(peerId, inquiry).finally(() => {
        this.#running -= 1;
        if (this.#inquiries.get(peerId) === inquiry) this.#drop(peerId, inquiry);
        this.#next();
      });
    }
  }

  async #inquire(peerId: PeerId, inquiry: Inquiry): Promise<void> {
    const { table, probe } = this.#options;
    for (;;) {
      const record = table.find(peerId);
      if (record === undefined || record.state === 'left') return;
      const { member } = record.entry;
      const wasDead = record.state === 'dead';
      const found = await probe(member, wasDead || inquiry.calledDead ? member : undefined);
      // Stopped, or declared dead on the word of others.
      if (this.#inquiries.get(peerId) !== inquiry) return;
      if (found === 'alive') {
        this.#distrust(inquiry);
        return;
      }
      if (wasDead || found === 'unknown') return;
      if (found === 'gone') inquiry.gones += 1;
      else inquiry.silences += 1;
      const now = table.find(peerId);
      if (now?.state !== 'live') return;
      // It has said something meanwhile.
      if (compareVersions(now.entry.member, member) > 0) return;
      if (inquiry.gones >= GONES || inquiry.accusers.size > 0) return this.#declareDead(peerId, member);
      if (inquiry.silences >= SILENCES) {
        if (!(await this.#vouchedFor(peerId)) && this.#inquiries.get(peerId) === inquiry) {
          this.#declareDead(peerId, member);
        }
        return;
      }
    }
  }

  async #vouchedFor(peerId: PeerId): Promise<boolean> {
    const { table, selfId, random, ask } = this.#options;
    const others = table.members().filter((member) => member.peerId !== selfId && member.peerId !== peerId);
    const asked: Promise<boolean>[] = [];
    while (asked.length < WITNESSES && others.length > 0) {
      const [witness] = others.splice(Math.floor(random() * others.length), 1);
      if (witness !== undefined) asked.push(ask(witness, peerId));
    }
    return (await Promise.all(asked)).includes(true);
  }

  #declareDead(peerId: PeerId, version: MemberVersion, onTheirWord = false): void {
    const inquiry = this.#inquiries.get(peerId);
    if (inquiry !== undefined) this.#drop(peerId, inquiry);
    this.#options.onDead(peerId, version, (inquiry?.accusers.size ?? 0) < TOLD_ENOUGH && !onTheirWord);
  }

  #drop(peerId: PeerId, inquiry: Inquiry): void {
    inquiry.cancel?.();
    this.#inquiries.delete(peerId);
  }

  #counts(by: PeerId): boolean {
    const accuser = this.#options.table.find(by);
    if (accuser?.state !== 'live' || accuser.heardMs === Number.NEGATIVE_INFINITY) return false;
    return this.#options.timers.now() - accuser.sinceMs >= SETTLED_MS;
  }

  #distrust({ accusers }: Inquiry): void {
    const untilMs = this.#options.timers.now() + DISTRUST_MS;
    for (const accuser of accusers) this.#distrusted.set(accuser, untilMs);
  }

  #delay(peerId: PeerId): number {
    const { table, selfId, random } = this.#options;
    // Itself, and the three nearest to it.
    if (table.closest(peerId, 4).some((member) => member.peerId === selfId)) return 0;
    return random() * Math.min(table.members().length * MS_A_MEMBER, MAX_DELAY_MS);
  }
}
