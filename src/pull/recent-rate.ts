/** Over what a rate is taken. */
const WINDOW_MS = 2_000;
const SAMPLE_MS = 200;

/** Bytes a second, lately. */
export class RecentRate {
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  /** @param bytes so far, in all. */
  at(bytes: number): void {
    const atMs = performance.now();
    const last = this.#samples.at(-1);
    if (last !== undefined && atMs - last.atMs < SAMPLE_MS) return;
    this.#samples.push({ atMs, bytes });
    // The first is the youngest that is a window old.
    while ((this.#samples[1]?.atMs ?? atMs) < atMs - WINDOW_MS) this.#samples.shift();
  }

  /** @param bytes so far, in all. */
  perSecond(bytes: number): number {
    const nowMs = performance.now();
    const first = this.#samples.find(({ atMs }) => atMs >= nowMs - 2 * WINDOW_MS);
    if (first === undefined || nowMs - first.atMs < SAMPLE_MS / 2) return 0;
    return Math.round(((bytes - first.bytes) * 1000) / (nowMs - first.atMs));
  }
}
