/** What an ingest does, in this order. */
const PHASES = ['claim', 'firstByte', 'transfer', 'verify', 'commit'] as const;

type Phase = (typeof PHASES)[number];

/** Where the time of an ingest went, in ms; their sum is all of it. A phase that was not come to took 0. */
export type IngestTimes = Readonly<Record<Phase, number>>;

/**
 * Notes how an ingest gets from one phase to the next:
 * claim (until the keeper has said from whom), first byte (of that source), transfer, verify (what is left to hash),
 * commit (fsync, rename). Each ends once: a takeover half way belongs to the transfer.
 */
export class IngestPhases {
  readonly #startMs = performance.now();
  readonly #ends = new Map<Phase, number>();

  /** Only the first time counts. */
  ended(phase: Phase): void {
    if (!this.#ends.has(phase)) this.#ends.set(phase, performance.now());
  }

  /** Up to now. A phase that never ended gave its time to the next that did; the last one under way has the rest. */
  times(): IngestTimes {
    const times = { claim: 0, firstByte: 0, transfer: 0, verify: 0, commit: 0 };
    const last = PHASES.findLastIndex((phase) => this.#ends.has(phase));
    let fromMs = this.#startMs;
    for (const [index, phase] of PHASES.entries()) {
      const endMs = this.#ends.get(phase) ?? (index === last + 1 ? performance.now() : undefined);
      if (endMs === undefined) continue;
      times[phase] = Math.max(0, endMs - fromMs);
      fromMs = Math.max(fromMs, endMs);
    }
    return times;
  }
}
