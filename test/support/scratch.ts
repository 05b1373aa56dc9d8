import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A temporary folder, and everything a test started that must end with it. Each part of the harness registers its
 * own end here at the moment it starts, so that nothing is left when a test, or a start half way, fails:
 *
 * ```ts
 * const scratch = await Scratch.create();
 * afterAll(() => scratch.dispose());
 * const registry = await RealRegistry.start(scratch);
 * ```
 */
export class Scratch {
  readonly path: string;
  readonly #ends: (() => unknown)[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<Scratch> {
    // Short: a Unix socket's path holds 107 bytes.
    return new Scratch(await mkdtemp(join(tmpdir(), 'wl-')));
  }

  /** A path below the folder; nothing is made. */
  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** `end` is called by `dispose`, the last one registered first. */
  defer(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** Ends everything, even if some of it fails, removes the folder, then rejects with what failed. Idempotent. */
  async dispose(): Promise<void> {
    const errors: unknown[] = [];
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) {
      try {
        await end();
      } catch (error) {
        errors.push(error);
      }
    }
    await rm(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch((error) => {
      errors.push(error);
    });
    if (errors.length > 0) throw new AggregateError(errors, `left behind by a test: ${errors.map(String).join('; ')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
