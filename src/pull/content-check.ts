import { LRUCache } from 'lru-cache';
import { systemCode, WindlassError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import type { HashJob, HashPool } from '../store/hash-pool.ts';
import { clock } from './clock.ts';
import type { ContentFile } from './content-files.ts';

/** Disks rot: what is read on is hashed again after so long. */
const GOOD_MS = 24 * 3_600_000;
const MAX_REMEMBERED = 20_000;
/** They share the threads that hash what arrives. */
const MAX_AT_ONCE = 8;

/** The digests of files that somebody else wrote: hashed once in a day, when they are first read. */
export class ContentChecks {
  /** What the file was like when its bytes had the digest. */
  readonly #good = new LRUCache<Digest, string>({ max: MAX_REMEMBERED, ttl: GOOD_MS, perf: clock });
  /** By digest and identity. */
  readonly #running = new Map<string, Promise<void>>();
  readonly #hashes: HashPool;
  readonly #jobs = new Set<HashJob>();

  constructor(hashes: HashPool) {
    this.#hashes = hashes;
  }

  isGood(digest: Digest, identity: string): boolean {
    return this.#good.get(digest) === identity;
  }

  /**
   * Hashes the file, once however many wait. It goes on when they have left.
   * @returns rejects with DIGEST_MISMATCH; the system's error; an error once stopped.
   * @throws PEER_BUSY at once: too many are being hashed.
   */
  check(digest: Digest, { identity, share }: ContentFile): Promise<void> {
    const key = `${digest} ${identity}`;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    if (this.#running.size >= MAX_AT_ONCE) {
      throw new WindlassError('PEER_BUSY', `${digest}: too many of containerd's files are being checked`);
    }
    const file = share();
    const check = this.#hash(digest, file)
      .then(() => void this.#good.set(digest, identity))
      .finally(() => {
        this.#running.delete(key);
        file.close();
      });
    this.#running.set(key, check);
    // Its readers may all have left.
    check.catch(() => undefined);
    return check;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#jobs].map((job) => job.drop()));
    await Promise.allSettled(this.#running.values());
  }

  async #hash(digest: Digest, { file, sizeBytes }: ContentFile): Promise<void> {
    const job = this.#hashes.begin(algorithmOf(digest));
    this.#jobs.add(job);
    try {
      job.file(file.handle.fd, sizeBytes);
      const hex = await job.digest();
      if (hex !== hexOf(digest)) throw mismatch(digest, `its bytes have the digest ${hex}`);
    } catch (error) {
      if (systemCode(error) === 'EIO') throw mismatch(digest, 'its bytes cannot be read');
      if (systemCode(error) === 'EOF') throw mismatch(digest, 'its file was cut short');
      throw error;
    } finally {
      await job.drop();
      this.#jobs.delete(job);
    }
  }
}

function mismatch(digest: Digest, why: string): WindlassError {
  return new WindlassError('DIGEST_MISMATCH', `containerd's content ${digest}: ${why}`);
}
