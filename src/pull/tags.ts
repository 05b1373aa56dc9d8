import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import { bareMediaType, isManifestMediaType } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { TagRecord, TagStore } from '../store/tag-store.ts';
import type { ManifestHead, Registries } from '../upstream/registry-client.ts';
import { clock } from './clock.ts';
import { Flights } from './flights.ts';
import type { Manifests } from './manifests.ts';
import { Origins } from './origins.ts';
import type { Swarm } from './swarm.ts';
import { type CheckedTag, TagClaims, type UncheckedTag } from './tag-claims.ts';

/** Where an older answer is at hand, upstream gets this long: a client's patience is needed for the pull itself. */
const CHECK_WITH_FALLBACK_MS = 8_000;
/** Where none is, a failure stands for so long at most: a registry that is back must not be missed for maxAge. */
const FAILURE_WITHOUT_FALLBACK_MS = 5_000;

export interface TagAnswer {
  readonly record: Omit<TagRecord, 'checkedAtMs'>;
  /** `store`: fresh enough, or upstream could not be asked. */
  readonly source: SourceLabel;
}

interface Lookup extends TagAnswer {
  readonly result: 'fresh' | 'checked' | 'stale';
}

export interface TagsOptions {
  readonly tags: TagStore;
  readonly manifests: Manifests;
  readonly registries: Registries;
  readonly maxAgeMs: number;
  readonly staleWhenDown: boolean;
  /** One check a cluster, not one a node. */
  readonly swarm?: Swarm;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * What a tag names. Upstream is asked (HEAD) at most once per `maxAgeMs`, however many ask; a failure counts as
 * asking, so a registry that swallows packets costs its time-out once, not once a request.
 *
 * ```
 *   record, fresh ────────────────────────────────▶ fresh
 *   else HEAD ── answer ──────────────────────────▶ checked (record replaced)
 *         │ ├──── 404 ────────────────────────────▶ missing (record deleted)
 *         │ ├──── 401, 403 ───────────────────────▶ failed  (record kept, not served)
 *         │ └──── down, 429, nonsense ─ record ───▶ stale, for maxAge  (if staleWhenDown)
 *         │                          └ none ──────▶ failed, for 5 s at most
 *         └ no digest, no size, no type: the manifest itself is fetched, and says
 * ```
 */
export class Tags {
  readonly #options: TagsOptions;
  readonly #flights = new Flights<Lookup>(30_000);
  /** Tags whose last check failed while upstream was down: nobody asks again until the entry expires. */
  readonly #down: LRUCache<string, WindlassError>;
  /** By a clock that is never set: when this process checked what is in the tag store. */
  readonly #checkedAtMs = new LRUCache<string, number>({ max: 10_000 });

  readonly #claims: TagClaims | undefined;

  constructor(options: TagsOptions) {
    this.#options = options;
    this.#claims = options.swarm && new TagClaims(options.swarm, options);
    this.#down = new LRUCache({ max: 10_000, ttl: Math.max(1, options.maxAgeMs), perf: clock });
  }

  /** @throws as RegistryClient does. Leaving (by the signal) does not end a check. */
  async resolve(origin: RepositoryName, tag: string, signal: AbortSignal): Promise<TagAnswer> {
    const { metrics, registries } = this.#options;
    const { label } = registries.get(origin.registry); // throws where it is not on the list
    const key = `${Origins.keyOf(origin)}:${tag}`;
    try {
      // The record is read in the flight too: nobody can come with an old one after a check has ended.
      const lookup = await this.#flights.join(key, signal, (flightSignal) =>
        this.#lookUp(origin, tag, key, flightSignal),
      );
      metrics.tagLookups.inc({ result: lookup.result });
      if (lookup.result === 'stale') metrics.tagStale.inc({ registry: label });
      return lookup;
    } catch (error) {
      if (!signal.aborted) metrics.tagLookups.inc({ result: hasCode(error, 'NOT_FOUND') ? 'missing' : 'failed' });
      throw error;
    }
  }

  async #lookUp(origin: RepositoryName, tag: string, key: string, signal: AbortSignal): Promise<Lookup> {
    const { tags, logger, maxAgeMs, staleWhenDown } = this.#options;
    const known = await tags.get(origin, tag);
    if (known !== undefined && this.#isFresh(key, known)) {
      return { record: known, source: 'store', result: 'fresh' };
    }
    const own = staleWhenDown ? known : undefined;
    const failed = this.#down.get(key);
    if (failed !== undefined) {
      if (own === undefined) throw failed;
      return { record: own, source: 'store', result: 'stale' };
    }
    const checked = await this.#check(origin, tag, own !== undefined, signal);
    if ('record' in checked) {
      await this.#remember(origin, tag, key, checked.record, checked.ageMs);
      return { record: checked.record, source: checked.source, result: 'checked' };
    }
    const { error } = checked;
    if (hasCode(error, 'NOT_FOUND')) await this.#remember(origin, tag, key, undefined, 0);
    if (!isDown(error)) throw error;
    const stale = staleWhenDown ? checked.stale : undefined;
    const fallback = (stale?.checkedAtMs ?? 0) > (own?.checkedAtMs ?? 0) ? stale : own;
    // What others knew is ours for as long as upstream is down.
    if (fallback !== undefined && fallback !== own) await this.#keepStale(origin, tag, fallback);
    const ttl = fallback === undefined ? Math.min(maxAgeMs, FAILURE_WITHOUT_FALLBACK_MS) : maxAgeMs;
    if (ttl > 0) this.#down.set(key, error, { ttl });
    if (fallback === undefined) throw error;
    logger.warn(
      { tag: key, digest: fallback.digest, ageMs: Date.now() - fallback.checkedAtMs, err: error },
      'upstream cannot be asked: serving the tag as last known',
    );
    return { record: fallback, source: fallback === own ? 'store' : 'peer', result: 'stale' };
  }

  /** Asks upstream, within a shorter bound if there is something to fall back on. */
  async #check(
    origin: RepositoryName,
    tag: string,
    bounded: boolean,
    signal: AbortSignal,
  ): Promise<CheckedTag | UncheckedTag> {
    if (!bounded) return this.#askOnce(origin, tag, signal);
    const bound = new AbortController();
    const timer = setTimeout(() => {
      bound.abort(
        new WindlassError('UPSTREAM_STALLED', `no answer to a tag check within ${CHECK_WITH_FALLBACK_MS} ms`),
      );
    }, CHECK_WITH_FALLBACK_MS);
    try {
      return await this.#askOnce(origin, tag, AbortSignal.any([signal, bound.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Once a cluster, where there is one. */
  async #askOnce(origin: RepositoryName, tag: string, signal: AbortSignal): Promise<CheckedTag | UncheckedTag> {
    try {
      const ask = () => this.#ask(origin, tag, signal);
      if (this.#claims !== undefined) return await this.#claims.check(origin, tag, signal, ask);
      return { record: await ask(), ageMs: 0, source: 'upstream' };
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
      return { error, stale: undefined };
    }
  }

  /** @returns what was known. */
  async purge(origin: RepositoryName, tag: string): Promise<TagRecord | undefined> {
    const key = `${Origins.keyOf(origin)}:${tag}`;
    const known = await this.#options.tags.get(origin, tag);
    this.#checkedAtMs.delete(key);
    this.#down.delete(key);
    await this.#options.tags.delete(origin, tag);
    return known;
  }

  #isFresh(key: string, known: TagRecord): boolean {
    const { maxAgeMs } = this.#options;
    const checkedAtMs = this.#checkedAtMs.get(key);
    if (checkedAtMs !== undefined) return performance.now() - checkedAtMs < maxAgeMs;
    // From before a restart. What comes from the future says nothing: the clock was set back.
    const ageMs = Date.now() - known.checkedAtMs;
    return ageMs >= 0 && ageMs < maxAgeMs;
  }

  /** Best effort: a record that cannot be written is looked up again. */
  async #remember(
    origin: RepositoryName,
    tag: string,
    key: string,
    record: TagRecord | undefined,
    ageMs: number,
  ): Promise<void> {
    const { tags, logger } = this.#options;
    this.#checkedAtMs.delete(key);
    try {
      if (record === undefined) {
        await tags.delete(origin, tag);
        return;
      }
      await tags.set(origin, tag, record);
      this.#checkedAtMs.set(key, performance.now() - ageMs);
    } catch (error) {
      logger.error({ tag: key, err: error }, 'tag could not be remembered');
    }
  }

  async #keepStale(origin: RepositoryName, tag: string, record: TagRecord): Promise<void> {
    try {
      await this.#options.tags.set(origin, tag, record);
    } catch (error) {
      this.#options.logger.error({ tag, err: error }, 'tag could not be remembered');
    }
  }

  async #ask(origin: RepositoryName, tag: string, signal: AbortSignal): Promise<TagRecord> {
    const { manifests, registries } = this.#options;
    const client = registries.get(origin.registry);
    const head: ManifestHead = await client.headManifest(origin.repository, tag, { signal });
    const checkedAtMs = Date.now();
    if (head.digest !== undefined) {
      const { digest, contentType, sizeBytes } = head;
      const held = await manifests.held(origin, digest);
      if (held !== undefined) return { digest, mediaType: held.mediaType, sizeBytes: held.bytes.length, checkedAtMs };
      if (contentType !== undefined && sizeBytes !== undefined && isManifestMediaType(contentType)) {
        return { digest, mediaType: bareMediaType(contentType), sizeBytes, checkedAtMs };
      }
    }
    const manifest =
      head.digest === undefined
        ? await manifests.getByTag(origin, tag, signal)
        : await manifests.get(origin, head.digest, signal);
    return { digest: manifest.digest, mediaType: manifest.mediaType, sizeBytes: manifest.bytes.length, checkedAtMs };
  }
}

function isDown(error: unknown): error is WindlassError {
  return hasCode(
    error,
    'UPSTREAM_UNAVAILABLE',
    'UPSTREAM_RATE_LIMITED',
    'UPSTREAM_STALLED',
    'UPSTREAM_NONSENSE',
    'DIGEST_MISMATCH',
  );
}
