import { readFile, stat } from 'node:fs/promises';
import { type ErrorCode, systemCode, WindlassError } from '../errors.ts';

/** A file is looked at when it is used, and at most so often. */
const LOOK_MS = 1_000;

export interface WatchedFileOptions<T> {
  readonly path: string;
  /** For messages: `docker config`, `client key`. */
  readonly what: string;
  /** Of the error when it cannot be read or used. */
  readonly code: ErrorCode;
  /** Throws if the contents make no sense; what it throws must not quote them. */
  readonly parse: (contents: Buffer) => T;
  readonly now: () => number;
}

/** A file that other hands may change while the process runs: its contents, parsed once a version. */
export class WatchedFile<T> {
  readonly #options: WatchedFileOptions<T>;
  /** The same object as long as the file is the same. */
  #current: { readonly value: T; readonly version: string } | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<T> | undefined;

  constructor(options: WatchedFileOptions<T>) {
    this.#options = options;
  }

  /** @throws the code given, naming the file, if it cannot be read or used: an old version is not used on. */
  read(): Promise<T> {
    const current = this.#current;
    if (current !== undefined && this.#options.now() - this.#lookedAt < LOOK_MS) return Promise.resolve(current.value);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<T> {
    const { path, what, code, parse, now } = this.#options;
    try {
      // Before the contents: a change in between shows at the next look.
      const { mtimeMs, size, ino } = await stat(path);
      const version = `${mtimeMs} ${size} ${ino}`;
      if (this.#current?.version !== version) {
        this.#current = { value: parse(await readFile(path)), version };
      }
      this.#lookedAt = now();
      return this.#current.value;
    } catch (error) {
      this.#current = undefined;
      const reason =
        systemCode(error) === 'ENOENT' ? 'does not exist' : error instanceof Error ? error.message : String(error);
      throw new WindlassError(code, `${what} ${path}: ${reason}`, { cause: error });
    }
  }
}
