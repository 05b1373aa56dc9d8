import type { PeerId } from './member.ts';
import type { RosterSchedule } from './roster-schedule.ts';
import type { RosterTable } from './roster-table.ts';

const PROBE_EVERY_MS = 5_000;
const REVIVE_EVERY_MS = 10_000;
const COMPARE_EVERY_MS = 30_000;
/** So many members, about, look whether a newcomer that they know from others is there, within so long. */
const WITNESSES = 8;
const MEET_MS = 10_000;
/** More members that were not met are no reason to look at fewer of them: they may all be made up. */
const MANY = 64;

export interface RosterRoundsOptions {
  readonly selfId: PeerId;
  readonly table: RosterTable;
  readonly schedule: RosterSchedule;
  readonly random: () => number;
  readonly look: (peerId: PeerId) => void;
  readonly compare: (peerId: PeerId) => void;
}

/** What is looked at as a matter of course: the live in turn, the dead, and those who are only hearsay. */
export class RosterRounds {
  readonly #options: RosterRoundsOptions;
  /** Still to be probed in this round. */
  #round: PeerId[] = [];

  constructor(options: RosterRoundsOptions) {
    this.#options = options;
  }

  start(): void {
    const { schedule, table, look, compare } = this.#options;
    schedule.every('probe', PROBE_EVERY_MS, () => this.#probeNext());
    schedule.every('compare', COMPARE_EVERY_MS, () => {
      const other = this.#anyOf(this.#others());
      if (other !== undefined) compare(other);
    });
    schedule.every('revive', REVIVE_EVERY_MS, () => {
      table.sweep();
      const dead = this.#anyOf(table.dead());
      if (dead !== undefined) look(dead.entry.member.peerId);
    });
  }

  /** These were told by others. Some of those who hear of them look; were it all, a newcomer would be trampled. */
  heardOf(peerIds: readonly PeerId[]): void {
    if (peerIds.length === 0) return;
    const { table, schedule, random, look } = this.#options;
    const share = WITNESSES / Math.max(table.met(), Math.min(table.members().length, MANY));
    for (const peerId of peerIds) {
      if (random() < share) schedule.once(`meet ${peerId}`, random() * MEET_MS, () => look(peerId));
    }
  }

  #probeNext(): void {
    const { table, look } = this.#options;
    this.#round = this.#round.filter((peerId) => table.isLive(peerId));
    if (this.#round.length === 0) this.#round = this.#others();
    const at = this.#draw(this.#round);
    const [peerId] = this.#round.splice(at, 1);
    if (peerId !== undefined) look(peerId);
  }

  #others(): PeerId[] {
    const { table, selfId } = this.#options;
    return table.members().flatMap(({ peerId }) => (peerId === selfId ? [] : peerId));
  }

  #anyOf<T>(items: readonly T[]): T | undefined {
    return items[this.#draw(items)];
  }

  #draw(items: readonly unknown[]): number {
    return Math.floor(this.#options.random() * items.length);
  }
}
