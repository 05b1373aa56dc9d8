import type { Logger } from 'pino';
import type { Timers } from '../time/timers.ts';
import type { Member, PeerId } from './member.ts';
import type { RosterSchedule } from './roster-schedule.ts';
import type { RosterTable } from './roster-table.ts';

/** News needs that long to reach all; until then a difference is nothing to mend. */
const NEWS_MS = 2_000;
const MEND_EVERY_MS = 5_000;
/** After one comparison the next waits up to so long. */
const PAUSE_MS = 300;

export interface RosterComparisonsOptions {
  readonly table: RosterTable;
  readonly timers: Timers;
  readonly random: () => number;
  readonly schedule: RosterSchedule;
  readonly logger: Logger;
  /** Rejects where the other one cannot be asked. */
  readonly exchange: (other: Member) => Promise<void>;
  readonly onFailed: (peerId: PeerId) => void;
}

/** Whom to compare members with, one after the other; only the last one wanted is remembered. */
export class RosterComparisons {
  readonly #options: RosterComparisonsOptions;
  #next: PeerId | undefined;
  #running = false;
  #mendedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: RosterComparisonsOptions) {
    this.#options = options;
  }

  /** After a random part of `withinMs`. */
  soon(peerId: PeerId, withinMs: number): void {
    this.#next = peerId;
    const { schedule, random } = this.#options;
    if (!this.#running) schedule.once('compare soon', random() * withinMs, () => this.#compare());
  }

  /** Its checksum is not ours. */
  differs(peerId: PeerId): void {
    const { table, timers } = this.#options;
    const nowMs = timers.now();
    if (nowMs - table.changedAtMs < NEWS_MS || nowMs - this.#mendedAtMs < MEND_EVERY_MS) return;
    this.#mendedAtMs = nowMs;
    this.soon(peerId, 0);
  }

  #compare(): void {
    const { table, logger, exchange, onFailed } = this.#options;
    const member = this.#next === undefined ? undefined : table.find(this.#next)?.entry.member;
    this.#next = undefined;
    if (member === undefined) return;
    const { peerId } = member;
    this.#running = true;
    exchange(member)
      .catch((err: unknown) => {
        logger.debug({ err, peerId }, 'members were not compared');
        onFailed(peerId);
      })
      .finally(() => {
        this.#running = false;
        if (this.#next !== undefined) this.soon(this.#next, PAUSE_MS);
      });
  }
}
