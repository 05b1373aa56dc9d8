import { z } from 'zod';
import { WindlassError } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import { parseDigest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { TagRecord } from '../store/tag-store.ts';
import type { Claimed, Lease } from './claims/claims.ts';
import type { Swarm } from './swarm.ts';

const recordSchema = z.object({
  digest: z.string().max(200),
  mediaType: z.string().min(3).max(255),
  sizeBytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});

export interface CheckedTag {
  readonly record: TagRecord;
  /** Since somebody asked upstream. */
  readonly ageMs: number;
  readonly source: SourceLabel;
}

/** Upstream could not be asked, by whoever had the right to. */
export interface UncheckedTag {
  readonly error: WindlassError;
  /** What it was when somebody last asked. */
  readonly stale: TagRecord | undefined;
}

/** One check of a tag for the whole cluster, shared among nodes with the same credentials. */
export class TagClaims {
  readonly #swarm: Swarm;
  readonly #maxAgeMs: number;

  constructor(swarm: Swarm, { maxAgeMs }: { readonly maxAgeMs: number }) {
    this.#swarm = swarm;
    this.#maxAgeMs = maxAgeMs;
  }

  /**
   * @param ask asks upstream; called only if that falls to this node.
   * @throws what `ask` throws that is no WindlassError; the signal's reason.
   */
  async check(
    origin: RepositoryName,
    tag: string,
    signal: AbortSignal,
    ask: () => Promise<TagRecord>,
  ): Promise<CheckedTag | UncheckedTag> {
    const key = await this.#swarm.tagKey(origin, tag);
    const source = await this.#swarm.sourceOf(origin);
    const claimed = await this.#claim(key, source, origin, signal);
    const told = this.#read(claimed, key);
    if (told !== undefined) return told;
    const lease = claimed?.kind === 'write' ? claimed.lease : undefined;
    const asked = await this.#ask(ask, lease);
    if ('record' in asked) {
      const { digest, mediaType, sizeBytes } = asked.record;
      const bytes = Buffer.from(JSON.stringify({ digest, mediaType, sizeBytes }));
      this.#swarm.claims.held(key, source, { bytes, ageMs: 0 });
      return asked;
    }
    if (signal.aborted || lease === undefined) return asked;
    // The keeper may know what it was, or another node may have been luckier.
    const again = await this.#claim(key, source, origin, signal);
    if (again?.kind === 'write') again.lease.left();
    return this.#read(again, key) ?? asked;
  }

  async #ask(ask: () => Promise<TagRecord>, lease: Lease | undefined): Promise<CheckedTag | UncheckedTag> {
    lease?.progress('opening', 0);
    try {
      return { record: await ask(), ageMs: 0, source: 'upstream' };
    } catch (error) {
      if (!(error instanceof WindlassError)) {
        lease?.left();
        throw error;
      }
      lease?.failed(error);
      return { error, stale: undefined };
    }
  }

  /** @returns undefined where nobody answers: upstream is asked all the same. */
  async #claim(
    key: string,
    source: string,
    { registry }: RepositoryName,
    signal: AbortSignal,
  ): Promise<Claimed | undefined> {
    try {
      return await this.#swarm.claims.claim(
        {
          key,
          source,
          registry,
          sizeBytes: undefined,
          prefix: 0,
          failed: [],
          inline: true,
          maxAgeMs: this.#maxAgeMs,
        },
        signal,
      );
    } catch (error) {
      signal.throwIfAborted();
      this.#swarm.logger.warn({ tag: key, err: error }, 'claim failed: asking upstream without leave');
      return undefined;
    }
  }

  #read(claimed: Claimed | undefined, key: string): CheckedTag | UncheckedTag | undefined {
    if (claimed?.kind === 'bytes') {
      const record = this.#parse(claimed, key);
      return record && { record, ageMs: claimed.ageMs, source: 'peer' };
    }
    if (claimed?.kind !== 'failed') return undefined;
    return { error: claimed.error, stale: claimed.stale && this.#parse(claimed.stale, key) };
  }

  #parse({ bytes, ageMs }: { bytes: Uint8Array; ageMs: number }, key: string): TagRecord | undefined {
    try {
      const { digest, ...rest } = recordSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
      return { digest: parseDigest(digest), ...rest, checkedAtMs: Date.now() - ageMs };
    } catch (error) {
      this.#swarm.logger.warn({ tag: key, err: error }, 'the keeper answered with nonsense');
      return undefined;
    }
  }
}
