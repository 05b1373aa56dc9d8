import { adopt, endOutdated } from './copies.ts';
import type { Entry } from './entry.ts';
import type { KeeperContext, KeeperLinks } from './keeper-context.ts';
import type { Copy, Report } from './messages.ts';
import { Standstill } from './standstill.ts';

/** Keys that others are asked of at once, for reports and sweeps after a standstill; claims, which wait, ask on. */
const MAX_RECALLS = 64;
/** A view that changed so lately may not be everybody's yet. */
const UNSETTLED_MS = 30_000;

/** When a keeper has to ask a key's other keepers what they know of it, before it says anything; and the asking. */
export class Recalls {
  readonly #context: KeeperContext;
  readonly #links: KeeperLinks;
  readonly #standstill: Standstill;
  #running = 0;

  constructor(context: KeeperContext, links: KeeperLinks) {
    this.#context = context;
    this.#links = links;
    this.#standstill = new Standstill(context.timers);
  }

  stop(): void {
    this.#standstill.stop();
  }

  get areMany(): boolean {
    return this.#running >= MAX_RECALLS;
  }

  /** A view that changed a moment ago: others may know more. */
  isUnsettled({ grants, recalledAtMs }: Entry): boolean {
    const { roster, timers } = this.#context;
    const unsettled = timers.now() - roster.changedAtMs < UNSETTLED_MS && roster.members().length > 1;
    return unsettled && grants.nothing && recalledAtMs < roster.changedAtMs;
  }

  /** This agent stood still a moment ago, and has not asked of this key since. */
  stoodStill({ recalledAtMs }: Entry): boolean {
    return recalledAtMs < this.#standstill.awokeAtMs && this.#context.roster.members().length > 1;
  }

  /** Does a report of a right say something of one that may have run out, or passed on, while this agent stood still? */
  isDoubtful(entry: Entry, { state, grant }: Report): boolean {
    if (!this.stoodStill(entry) || (state !== 'writing' && grant === undefined)) return false;
    return entry.recalling !== undefined || !this.areMany;
  }

  /** Once, however many ask meanwhile. Never rejects. */
  ask(entry: Entry): Promise<void> {
    entry.recalling ??= this.#ask(entry);
    return entry.recalling;
  }

  async #ask(entry: Entry): Promise<void> {
    const atMs = this.#context.timers.now();
    const stoodStill = this.stoodStill(entry);
    this.#running += 1;
    const copies = await this.#links.recall(entry.key).catch(() => []);
    this.#running -= 1;
    entry.recalling = undefined;
    // Nothing of it was told to others meanwhile.
    const isLate = stoodStill || this.stoodStill(entry);
    entry.recalledAtMs = atMs;
    endOutdated(entry, this.#context, copies, this.#standstill.suspendedUntilMs);
    // Of two the one that was renewed last.
    const ageOf = ({ grant }: Copy) => grant?.ageMs ?? Number.POSITIVE_INFINITY;
    for (const copy of copies.toSorted((a, b) => ageOf(a) - ageOf(b))) adopt(entry, this.#context, copy, false);
    if (isLate) this.#links.changed(entry, true);
  }
}
