import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { systemCode } from '../errors.ts';

/** More are not needed to find one that is still there. */
const MAX_ADDRESSES = 64;
const AT_ONCE = 3;
const schema = z.array(z.string().max(300)).max(MAX_ADDRESSES);

export interface MetMembersOptions {
  /** The addresses are in the file `members.json` in it. */
  readonly storePath: string;
  readonly logger: Logger;
}

/**
 * The data addresses of members that this agent knew when it went down: asked first when it is back, it knows in a
 * moment who is there, and whom to ask for leave. Until it does, it takes itself for alone, and would fetch from
 * upstream what others are fetching. Best effort: what cannot be read or written is found by discovery.
 */
export class MetMembers {
  readonly #path: string;
  readonly #logger: Logger;

  constructor({ storePath, logger }: MetMembersOptions) {
    this.#path = join(storePath, 'members.json');
    this.#logger = logger;
  }

  /** Some at a time, in random order, until one has answered, or the signal ends it. Never rejects. */
  async ask(exchange: (address: string) => Promise<void>, signal: AbortSignal): Promise<boolean> {
    const left = await this.#read();
    const next = async (): Promise<boolean> => {
      for (let address = take(left); address !== undefined && !signal.aborted; address = take(left)) {
        try {
          await exchange(address);
          left.length = 0;
          return true;
        } catch (error) {
          this.#logger.debug({ address, err: error }, 'a member of old is not there');
        }
      }
      return false;
    };
    const ended = new Promise<boolean>((resolve) => {
      if (signal.aborted) resolve(false);
      signal.addEventListener('abort', () => resolve(false), { once: true });
    });
    const asking = Promise.all(Array.from({ length: AT_ONCE }, next)).then((answered) => answered.includes(true));
    return Promise.race([asking, ended]);
  }

  /** Never rejects. */
  async save(addresses: readonly string[]): Promise<void> {
    if (addresses.length === 0) return;
    const chosen = [...addresses];
    while (chosen.length > MAX_ADDRESSES) take(chosen);
    try {
      await writeFile(`${this.#path}.new`, JSON.stringify(chosen), { mode: 0o600 });
      await rename(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#logger.warn({ err: error }, 'the members met could not be written down');
    }
  }

  async #read(): Promise<string[]> {
    try {
      return schema.parse(JSON.parse(await readFile(this.#path, 'utf8')));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#logger.warn({ err: error }, 'the members met could not be read');
      return [];
    }
  }
}

/** One of them, at random, taken out. */
function take(addresses: string[]): string | undefined {
  return addresses.splice(Math.floor(Math.random() * addresses.length), 1)[0];
}
