import { WindlassError } from '../errors.ts';

/**
 * Calls in flight, shared: whoever asks for a key that is being asked for gets the same answer. The call itself
 * does not end when a caller leaves; it has a bound of its own.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Promise<T>>();
  readonly #timeoutMs: number;

  constructor(timeoutMs = 60_000) {
    this.#timeoutMs = timeoutMs;
  }

  /** @returns the answer, or rejects with the signal's reason, the call going on. */
  join(key: string, signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const abort = new AbortController();
      const timer = setTimeout(() => {
        abort.abort(new WindlassError('UPSTREAM_STALLED', `no answer within ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      flight = call(abort.signal).finally(() => {
        clearTimeout(timer);
        this.#flights.delete(key);
      });
      this.#flights.set(key, flight);
      // Everybody may have left when it fails.
      flight.catch(() => {});
    }
    return untilAborted(flight, signal);
  }
}

/** The promise's outcome, or the signal's reason if that comes first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
