/**
 * Of one Ctrl-C under npm two arrive within milliseconds: the terminal's, which all processes in front get, and npm's,
 * which passes its own on. Nobody presses twice that fast.
 */
const ECHO_MS = 250;

/** `process`, or what a test makes of it. */
export interface SignalSource<S extends NodeJS.Signals> {
  on(name: S, listener: (name: S) => void): unknown;
  off(name: S, listener: (name: S) => void): unknown;
}

/** Tells of each signal that somebody sent, and of none a second time because npm repeats it. */
export class StopSignals<S extends NodeJS.Signals> implements Disposable {
  readonly #source: SignalSource<S>;
  readonly #names: readonly S[];
  readonly #listener: (name: S) => void;

  constructor(source: SignalSource<S>, names: readonly S[], onSignal: (name: S) => void) {
    this.#source = source;
    this.#names = names;
    const last = new Map<S, number>();
    this.#listener = (name) => {
      const now = performance.now();
      const before = last.get(name);
      last.set(name, now);
      if (before === undefined || now - before > ECHO_MS) onSignal(name);
    };
    for (const name of names) source.on(name, this.#listener);
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) this.#source.off(name, this.#listener);
  }
}
