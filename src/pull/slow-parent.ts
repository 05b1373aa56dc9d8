const MIB = 1024 * 1024;
const BEHIND_BYTES = 4 * MIB;
/** Small blobs are over before their child could fall so far behind. */
const BEHIND_SMALL_BYTES = MIB;
const SMALL_BLOB_BYTES = 64 * MIB;
const WINDOW_MS = 250;
const ANYBODY = { share: 0.3, windowMs: WINDOW_MS };
/**
 * Of a writer less is enough, if it goes on: all that are below it wait for it, and its keeper only seats one child
 * below the other, or looks at what the writer sends in all. Relays that share a link of upstream's rate are now and
 * then at this much, and would all lose their seats.
 */
const WRITERS = { share: 0.75, windowMs: 1_500 };
/** At a gigabyte a second a parent is looked at four thousand times. */
const SAMPLE_MS = 10;

/** A parent's growth is taken to go on for so long after it last spoke of it. */
const GROWS_ON_MS = 2_000;

interface Sample {
  readonly atMs: number;
  readonly position: number;
  readonly written: number;
  readonly waitedMs: number;
}

/**
 * Is a parent too slow to be one? It is where its child lags by BEHIND_BYTES and gets less than a share of the rate at
 * which the parent's own bytes grow, over a window (ANYBODY; WRITERS), and that for WINDOW_MS (a pause is none), but not
 * in a stream's first moments, and only while the child waits for it (a child that is slow itself is not helped by
 * another parent). A parent that waits for its own source is not slow: its child has all that it has.
 *
 * A parent says how far it is with each piece, and a slow one's pieces take long: in between it is taken to grow as it
 * did.
 */
export class SlowParent {
  readonly #behindBytes: number;
  readonly #fromMs: number;
  readonly #sizeBytes: number;
  readonly #samples: Sample[] = [];
  #first: { readonly atMs: number; readonly written: number } | undefined;
  #last: { readonly atMs: number; readonly written: number } | undefined;

  /** Since when it looks slow. */
  #sinceMs: number | undefined;

  /** @param fromMs when its first moments are over; monotonic, as all times here. */
  constructor(sizeBytes: number | undefined, fromMs: number) {
    this.#sizeBytes = sizeBytes ?? Number.POSITIVE_INFINITY;
    this.#behindBytes = this.#sizeBytes < SMALL_BLOB_BYTES ? BEHIND_SMALL_BYTES : BEHIND_BYTES;
    this.#fromMs = fromMs;
  }

  /** The parent said how far it is. */
  told(nowMs: number, written: number): void {
    // Of what was there when the stream began, nothing is known of how it grew.
    this.#first ??= { atMs: nowMs, written };
    this.#last = { atMs: nowMs, written };
  }

  /**
   * @param position how far the child has it, to the byte.
   * @param waitedMs for how long, in all, the child waited for the parent.
   * @param isWriter it is the writer now.
   */
  isSlow(nowMs: number, position: number, waitedMs: number, isWriter = false): boolean {
    const written = this.#writtenAt(nowMs);
    const samples = this.#samples;
    const now = { atMs: nowMs, position, written, waitedMs };
    if (nowMs - (samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) >= SAMPLE_MS) samples.push(now);
    // The first is the youngest that is the longest window old.
    while ((samples[1]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs - WRITERS.windowMs) samples.shift();
    if (!this.#looksSlow(ANYBODY, now) && !(isWriter && this.#looksSlow(WRITERS, now))) {
      this.#sinceMs = undefined;
      return false;
    }
    this.#sinceMs ??= nowMs;
    return nowMs - this.#sinceMs >= WINDOW_MS && nowMs >= this.#fromMs;
  }

  #looksSlow({ share, windowMs }: typeof WRITERS, now: Sample): boolean {
    const first = this.#samples.findLast(({ atMs }) => atMs <= now.atMs - windowMs);
    if (first === undefined) return false;
    if (now.written - now.position < this.#behindBytes) return false;
    if (now.waitedMs - first.waitedMs < (now.atMs - first.atMs) / 2) return false;
    return now.position - first.position < share * (now.written - first.written);
  }

  #writtenAt(nowMs: number): number {
    const first = this.#first;
    const last = this.#last;
    if (first === undefined || last === undefined) return 0;
    const rate = last.atMs - first.atMs < WINDOW_MS ? 0 : (last.written - first.written) / (last.atMs - first.atMs);
    const grown = last.written + rate * Math.min(GROWS_ON_MS, nowMs - last.atMs);
    return Math.max(last.written, Math.min(this.#sizeBytes, grown));
  }
}
