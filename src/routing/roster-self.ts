import type { Logger } from 'pino';
import type { Member } from './member.ts';
import { type MemberEntry, type MemberVersion, type Sign, signMember } from './member-entry.ts';
import type { RosterSchedule } from './roster-schedule.ts';
import type { Timers } from './timers.ts';

/** An agent says no more often than this that it is not dead. */
const RENEW_MS = 1_000;

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

  constructor(member: Member, options: RosterSelfOptions) {
    this.#options = options;
    this.#entry = signMember(member, options.sign);
  }

  get entry(): MemberEntry {
    return this.#entry;
  }

  renew(change: Partial<Member>, above = this.#entry.member.sequence): void {
    const { sign, timers, onRenewed } = this.#options;
    this.#renewedAtMs = timers.now();
    this.#entry = signMember({ ...this.#entry.member, ...change, sequence: above + 1 }, sign);
    onRenewed(this.#entry);
  }

  /** Some agent has this one as dead, as of that entry. Of an older entry it is no matter; a newer one there is not. */
  calledDead({ incarnation, sequence }: MemberVersion): void {
    const { member } = this.#entry;
    if (incarnation !== member.incarnation || sequence !== member.sequence || member.leaving) return;
    const { schedule, timers } = this.#options;
    const waitMs = this.#renewedAtMs + RENEW_MS - timers.now();
    if (waitMs <= 0) this.renew({});
    else schedule.once('renew', waitMs, () => this.calledDead({ incarnation, sequence }));
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
}
