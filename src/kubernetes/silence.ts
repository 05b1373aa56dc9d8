import type { Timers } from '../time/timers.ts';

/** Ends a request of which nothing is heard for too long. To be ended itself when the request is over. */
export class Silence {
  readonly #timers: Timers;
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #abort = () => this.#controller.abort(this.#parent.reason);
  #cancel: (() => void) | undefined;
  #broken = false;

  /** @param signal ends the request as well */
  constructor(signal: AbortSignal, timers: Timers) {
    this.#parent = signal;
    this.#timers = timers;
    if (signal.aborted) this.#abort();
    else signal.addEventListener('abort', this.#abort, { once: true });
  }

  /** For the request. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** It was this that ended the request. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Something was heard, or is asked now: the next must come within `ms`. */
  allow(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#timers.after(ms, () => {
      this.#broken = true;
      this.#controller.abort();
    });
  }

  end(): void {
    this.#cancel?.();
    this.#parent.removeEventListener('abort', this.#abort);
  }
}
