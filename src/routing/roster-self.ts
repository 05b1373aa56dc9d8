import type { Logger } from 'pino';
import type { Timers } from '../time/timers.ts';
import type { Member, PeerId } from './member.ts';
import { fitMember, type MemberEntry, type MemberVersion, type Sign, signMember } from './member-entry.ts';
import type { RosterSchedule } from './roster-schedule.ts';

/** An agent says no more often than this that it is not dead. */
const RENEW_MS = 1_000;
const WARN_MS = 600_000;

export interface RosterSelfOptions {
  readonly sign: Sign;
  readonly timers: Timers;
  readonly schedule: RosterSchedule;
  readonly logger: Logger;
  /** A new entry is to be taken and told. */
  readonly onRenewed: (entry: MemberEntry) => void;
}

/** This agent's own entry. Signed anew when it changes, and when others think this agent dead. */
export class RosterSelf {
  readonly #options: RosterSelfOptions;
  #entry: MemberEntry;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(member: Member, options: RosterSelfOptions) {
    this.#options = options;
    this.#entry = signMember(fitMember(member), options.sign);
  }

  get entry(): MemberEntry {
    return this.#entry;
  }

  renew(change: Partial<Member>, above = this.#entry.member.sequence): void {
    const { sign, timers, onRenewed } = this.#options;
    this.#renewedAtMs = timers.now();
    this.#entry = signMember(fitMember({ ...this.#entry.member, ...change, sequence: above + 1 }), sign);
    onRenewed(this.#entry);
  }

  /**
   * This agent was reached by one that has it as dead, as of that entry: a newer one undoes it. An older entry is no
   * matter, and a newer one there is not.
   */
  calledDead(version: MemberVersion): void {
    if (!this.#isCurrent(version)) return;
    const { schedule, timers } = this.#options;
    const waitMs = this.#renewedAtMs + RENEW_MS - timers.now();
    if (waitMs <= 0) this.renew({});
    else schedule.once('renew', waitMs, () => this.calledDead(version));
  }

  /** Some agent says that this one is dead. That may be so because its address is wrong, or blocked. */
  doubted(version: MemberVersion, by: PeerId): void {
    const { timers, logger } = this.#options;
    if (!this.#isCurrent(version) || timers.now() < this.#warnedAtMs + WARN_MS) return;
    this.#warnedAtMs = timers.now();
    const { dataAddress } = this.#entry.member;
    logger.warn({ by, dataAddress }, 'another agent could not reach this one: is the address right, and open?');
  }

  /** There is an entry that this identity signed, newer than this one: another process, or an earlier life. */
  outrun({ incarnation, sequence }: MemberVersion): void {
    const { member } = this.#entry;
    const { timers, logger } = this.#options;
    if (member.leaving || timers.now() < this.#renewedAtMs + RENEW_MS) return;
    if (incarnation === member.incarnation) {
      this.renew({}, sequence);
      return;
    }
    logger.warn(
      { ours: member.incarnation, incarnation },
      'another process has this identity, or its incarnation was set back',
    );
    this.renew({ incarnation: incarnation + 1 }, -1);
  }

  #isCurrent({ incarnation, sequence }: MemberVersion): boolean {
    const { member } = this.#entry;
    return incarnation === member.incarnation && sequence === member.sequence && !member.leaving;
  }
}
