/** A bound is counted in so many parts. */
const PARTS = 10;

/**
 * A signal that ends with another one, or after a time. `end` lets go of both. Time in which this process itself stood
 * still, or was short of processors, counts little: it says nothing of the other side, which may be as short of them.
 */
export class Bound {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #onAbort: () => void;
  readonly #late: () => Error;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param late makes the signal's reason when time is up. */
  constructor(outer: AbortSignal, timeoutMs: number, late: () => Error) {
    this.#outer = outer;
    this.#late = late;
    this.#onAbort = () => this.#controller.abort(outer.reason);
    if (outer.aborted) this.#onAbort();
    outer.addEventListener('abort', this.#onAbort, { once: true });
    this.#wait(timeoutMs / PARTS, PARTS);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#onAbort);
  }

  #wait(partMs: number, parts: number): void {
    this.#timer = setTimeout(() => {
      if (parts > 1) this.#wait(partMs, parts - 1);
      else setImmediate(() => this.#expire()); // After what came meanwhile has been read.
    }, partMs);
  }

  #expire(): void {
    if (!this.#ended) this.#controller.abort(this.#late());
  }
}
