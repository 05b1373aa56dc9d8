import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { systemCode } from '../../errors.ts';
import type { Timers } from '../../time/timers.ts';
import type { Rates } from './rates.ts';

const SAVE_MS = 60_000;
/** What was so before a restart is taken a little lower, so that a figure that was once too high fades. */
const FADING = 0.9;
const schema = z.record(z.string().max(300), z.number().positive());

/** Registries' rates over restarts: a small JSON file. Best effort: without it they are learnt again. */
export class RatesFile {
  readonly #path: string;
  readonly #rates: Rates;
  readonly #timers: Timers;
  readonly #logger: Logger;
  #saved = '';
  #cancel: (() => void) | undefined;

  constructor(path: string, options: { readonly rates: Rates; readonly timers: Timers; readonly logger: Logger }) {
    this.#path = path;
    this.#rates = options.rates;
    this.#timers = options.timers;
    this.#logger = options.logger;
  }

  /** Reads it, and writes it each minute from now on. Never rejects. */
  async start(): Promise<void> {
    this.#saveLater();
    try {
      const known = schema.parse(JSON.parse(await readFile(this.#path, 'utf8')));
      for (const [name, rate] of Object.entries(known)) this.#rates.noteRegistry(name, rate * FADING);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#logger.warn({ err: error }, "registries' rates could not be read");
    }
  }

  async stop(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    await this.#save();
  }

  #saveLater(): void {
    this.#cancel = this.#timers.after(SAVE_MS, () => {
      this.#saveLater();
      void this.#save();
    });
  }

  async #save(): Promise<void> {
    const text = JSON.stringify(this.#rates.known());
    if (text === this.#saved || text === '{}') return;
    try {
      await writeFile(`${this.#path}.new`, text, { mode: 0o600 });
      await rename(`${this.#path}.new`, this.#path);
      this.#saved = text;
    } catch (error) {
      this.#logger.warn({ err: error }, "registries' rates could not be written");
    }
  }
}
