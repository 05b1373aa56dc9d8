/** So much may be sent at once after a pause. */
const BURST_MS = 100;

/**
 * Shapes what many streams send together to a rate. Those that wait are served one slice each in turn, so each gets
 * the same share.
 */
export class TokenBucket {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #tokens: number;
  #filledAtMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param bytesPerSecond 0: no limit. */
  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#burstBytes = this.#bytesPerMs * BURST_MS;
    this.#tokens = this.#burstBytes;
    this.#filledAtMs = performance.now();
  }

  /**
   * How much a stream should send at once: a twentieth of a second's, so that others' turns come soon, and its own within
   * half a second: who gets nothing for two takes its parent for dead.
   */
  sliceBytes(unlimited: number, streams: number): number {
    if (this.#bytesPerMs === 0) return unlimited;
    const ms = Math.min(50, 500 / Math.max(1, streams));
    return Math.max(1024, Math.min(unlimited, Math.floor(this.#bytesPerMs * ms)));
  }

  /** Resolves when so many bytes may be sent; undefined: at once. Ends early by the signal, without a word. */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#bytesPerMs === 0) return undefined;
    this.#fill();
    if (this.#waiting.length === 0 && this.#tokens > 0) {
      this.#tokens -= bytes;
      return undefined;
    }
    return new Promise((resolve) => {
      const waiter = {
        bytes,
        go: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = () => {
        const at = this.#waiting.indexOf(waiter);
        if (at !== -1) this.#waiting.splice(at, 1);
        resolve();
      };
      if (signal.aborted) return resolve();
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiter);
      this.#schedule();
    });
  }

  #fill(): void {
    const now = performance.now();
    this.#tokens = Math.min(this.#burstBytes, this.#tokens + (now - this.#filledAtMs) * this.#bytesPerMs);
    this.#filledAtMs = now;
  }

  #schedule(): void {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        this.#serve();
      },
      Math.max(1, Math.ceil(-this.#tokens / this.#bytesPerMs) + 1),
    );
  }

  /** A debt is allowed: the next one waits until it is paid. */
  #serve(): void {
    this.#fill();
    while (this.#tokens > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#tokens -= next.bytes;
      next.go();
    }
    if (this.#waiting.length > 0) this.#schedule();
  }
}
