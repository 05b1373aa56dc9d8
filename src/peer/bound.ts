/** A signal that ends with another one, or after a time. `end` lets go of both. */
export class Bound {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #onAbort: () => void;
  readonly #timer: NodeJS.Timeout;
  #ended = false;

  /** @param late makes the signal's reason when time is up. */
  constructor(outer: AbortSignal, timeoutMs: number, late: () => Error) {
    this.#outer = outer;
    this.#onAbort = () => this.#controller.abort(outer.reason);
    if (outer.aborted) this.#onAbort();
    outer.addEventListener('abort', this.#onAbort, { once: true });
    const abort = () => {
      if (!this.#ended) this.#controller.abort(late());
    };
    // After what came while this process itself stood still has been read.
    this.#timer = setTimeout(() => setImmediate(abort), timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#onAbort);
  }
}
