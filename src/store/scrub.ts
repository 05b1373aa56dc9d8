import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { systemCode } from '../errors.ts';
import { algorithmOf, type Digest, hexOf, isDigest } from '../oci/digest.ts';
import type { Clock } from './clock.ts';
import type { DiskBlob } from './disk-blob.ts';
import type { HashPool } from './hash-pool.ts';

export interface ScrubOptions {
  readonly bytesPerSecond: number;
  /** Where it remembers its place. */
  readonly cursorPath: string;
  readonly hashes: HashPool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** All that is held. Called once a step; may be long. */
  readonly blobs: () => Iterable<DiskBlob>;
  readonly pathOf: (digest: Digest) => string;
  /** Is it still held? If not, it is left at once: the space of a file goes when the last one closes it. */
  readonly holds: (blob: DiskBlob) => boolean;
  readonly scrubbed: (bytes: number) => void;
  /** Its bytes do not have its digest, or cannot be read. */
  readonly corrupt: (blob: DiskBlob, why: string) => Promise<void>;
}

const STEP_BYTES = 1024 * 1024;
/** A round begins at most that often, however small the store. */
const ROUND_MS = 24 * 3_600_000;
const CURSOR_EVERY_MS = 10_000;
/** Blobs are visited by digest, so many of a round's 512 groups at once are sorted and kept in memory. */
const GROUPS = ['sha256', 'sha512'].flatMap((algorithm) =>
  Array.from({ length: 256 }, (_, byte) => `${algorithm}:${byte.toString(16).padStart(2, '0')}`),
);

/**
 * Hashes what is held again, one blob after the other in the order of their digests, at a bounded rate, round after
 * round, and remembers its place: a restart goes on there.
 */
export class Scrub {
  readonly #options: ScrubOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #cursorSavedMs = 0;

  constructor(options: ScrubOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#abort.signal.aborted) this.#options.logger.error({ err: error }, 'the scrub ended');
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, cursorPath, logger } = this.#options;
    const { signal } = this.#abort;
    const saved = await readFile(cursorPath, 'utf8').catch(() => '');
    let cursor = isDigest(saved) ? saved : '';
    for (;;) {
      const beganMs = clock.now();
      for (const group of GROUPS) {
        if (group < cursor.slice(0, group.length)) continue;
        // A look at 100,000 blobs for each group, and most of one algorithm's may be empty.
        await nextTurn();
        for (const blob of this.#groupAfter(group, cursor)) {
          try {
            await this.#check(blob, signal);
          } catch (error) {
            signal.throwIfAborted();
            logger.warn({ err: error, digest: blob.digest }, 'blob cannot be scrubbed now');
            await clock.sleep(1000, signal);
          }
          cursor = blob.digest;
          await this.#save(cursor, false);
        }
      }
      cursor = '';
      await this.#save(cursor, true);
      await clock.sleep(Math.max(1000, beganMs + ROUND_MS - clock.now()), signal);
    }
  }

  #groupAfter(group: string, cursor: string): DiskBlob[] {
    const blobs: DiskBlob[] = [];
    for (const blob of this.#options.blobs()) {
      if (blob.digest.startsWith(group) && blob.digest > cursor) blobs.push(blob);
    }
    return blobs.sort((a, b) => (a.digest < b.digest ? -1 : 1));
  }

  async #check(blob: DiskBlob, signal: AbortSignal): Promise<void> {
    const { pathOf, holds, corrupt } = this.#options;
    if (!holds(blob)) return;
    let file: FileHandle;
    try {
      file = await open(pathOf(blob.digest), 'r');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      if (holds(blob)) await corrupt(blob, 'its file has vanished');
      return;
    }
    try {
      const { size } = await file.stat();
      const why =
        size === blob.sizeBytes
          ? await this.#hash(blob, file, signal)
          : `its file has ${size} bytes, not ${blob.sizeBytes}`;
      if (why !== undefined && holds(blob)) await corrupt(blob, why);
    } finally {
      await file.close();
    }
  }

  /** @returns what is wrong */
  async #hash(blob: DiskBlob, file: FileHandle, signal: AbortSignal): Promise<string | undefined> {
    const { hashes, clock, bytesPerSecond, holds, scrubbed } = this.#options;
    const job = hashes.begin(algorithmOf(blob.digest));
    try {
      let position = 0;
      do {
        const beganMs = clock.now();
        const step = Math.min(STEP_BYTES, blob.sizeBytes - position);
        position += step;
        job.file(file.fd, position);
        await job.reached(position);
        scrubbed(step);
        // An empty or tiny blob costs its overhead, whatever its size.
        const dueMs = (Math.max(step, 4096) / bytesPerSecond) * 1000;
        await clock.sleep(Math.max(0, dueMs - (clock.now() - beganMs)), signal);
        if (!holds(blob)) return undefined;
      } while (position < blob.sizeBytes);
      const hex = await job.digest();
      return hex === hexOf(blob.digest) ? undefined : `its bytes have the digest ${hex}`;
    } catch (error) {
      // The disk cannot give the bytes back, or the file was cut short: upstream has them.
      if (systemCode(error) === 'EIO') return 'its bytes cannot be read';
      if (systemCode(error) === 'EOF') return 'its file was cut short';
      throw error;
    } finally {
      await job.drop();
    }
  }

  /** Not synced: a place that is lost, or half written, costs a round from the start. */
  async #save(cursor: string, now: boolean): Promise<void> {
    const { clock, cursorPath, logger } = this.#options;
    if (!now && clock.now() - this.#cursorSavedMs < CURSOR_EVERY_MS) return;
    this.#cursorSavedMs = clock.now();
    await writeFile(cursorPath, cursor, { mode: 0o600 }).catch((error: unknown) => {
      logger.debug({ err: error }, 'the place of the scrub cannot be saved');
    });
  }
}
