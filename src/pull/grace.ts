/** How long bytes are kept coming for nobody: a client that was cut off comes back at its offset. */
const GRACE_MS = 3_000;

/** Gives something up, some time after it became idle, if it still is. */
export class Grace {
  readonly #isIdle: () => boolean;
  readonly #onOver: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(isIdle: () => boolean, onOver: () => void) {
    this.#isIdle = isIdle;
    this.#onOver = onOver;
  }

  /** To be called whenever it may have become idle. */
  look(): void {
    if (this.#timer !== undefined || !this.#isIdle()) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#isIdle()) this.#onOver();
    }, GRACE_MS).unref();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
