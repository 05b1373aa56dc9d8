const MIB = 1024 * 1024;
const BEHIND_BYTES = 4 * MIB;
/** Small blobs are over before their child could fall so far behind. */
const BEHIND_SMALL_BYTES = MIB;
const SMALL_BLOB_BYTES = 64 * MIB;
const SHARE = 0.3;
const WINDOW_MS = 250;
const FIRST_MS = 400;

interface Sample {
  readonly atMs: number;
  readonly position: number;
  readonly written: number;
}

/**
 * Is a parent too slow to be one? It is where its child lags by BEHIND_BYTES and gets less than SHARE of the rate at
 * which the parent's own bytes grow, over WINDOW_MS, but not in a stream's first moments. A parent that waits for its
 * own source is not slow: its child has all that it has.
 */
export class SlowParent {
  readonly #behindBytes: number;
  readonly #startedAtMs: number;
  readonly #samples: Sample[] = [];

  /** @param startedAtMs monotonic, as in `isSlow`. */
  constructor(sizeBytes: number | undefined, startedAtMs: number) {
    this.#behindBytes = (sizeBytes ?? Number.POSITIVE_INFINITY) < SMALL_BLOB_BYTES ? BEHIND_SMALL_BYTES : BEHIND_BYTES;
    this.#startedAtMs = startedAtMs;
  }

  /**
   * @param position how far the child has it.
   * @param written how far the parent had it when it last said so.
   */
  isSlow(nowMs: number, position: number, written: number): boolean {
    const samples = this.#samples;
    samples.push({ atMs: nowMs, position, written });
    // The first is the youngest that is a window old.
    while ((samples[1]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs - WINDOW_MS) samples.shift();
    const first = samples[0];
    if (first === undefined || nowMs - first.atMs < WINDOW_MS || nowMs - this.#startedAtMs < FIRST_MS) return false;
    if (written - position < this.#behindBytes) return false;
    return position - first.position < SHARE * (written - first.written);
  }
}
