// Over 300 lines: memory, store, peers and upstream are asked in one order, and each may say that another is wrong.

import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { WindlassError } from '../errors.ts';
import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { bareMediaType, MAX_MANIFEST_BYTES, type ManifestInfo, readManifest } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobStore, OpenBlob } from '../store/blob-store.ts';
import type { ManifestBody, Registries } from '../upstream/registry-client.ts';
import { INLINE_BYTES } from './claims/messages.ts';
import type { ContentBlobs } from './content-blobs.ts';
import type { Descriptors } from './descriptors.ts';
import { Flights } from './flights.ts';
import { collectManifest, digestOf } from './manifest-bytes.ts';
import { ManifestSource } from './manifest-source.ts';
import { Origins } from './origins.ts';
import type { Swarm } from './swarm.ts';
import { SwarmSource } from './swarm-source.ts';

const CACHE_BYTES = 32 * 1024 * 1024;

export interface Manifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly source: SourceLabel;
}

interface Read {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly info: ManifestInfo | undefined;
}

export interface ManifestsOptions {
  readonly store: BlobStore;
  readonly registries: Registries;
  readonly descriptors: Descriptors;
  /** What the node's containerd holds. */
  readonly content?: ContentBlobs | undefined;
  /** Stands before upstream. Without it, this node is alone. */
  readonly swarm?: Swarm;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Manifests by digest: from memory, the store, or upstream, where each is fetched once however many ask. Bytes are
 * served as they came; the media type is what they say themselves (so it needs no place in the store), since a
 * missing or wrong one makes containerd take a manifest for a blob.
 */
export class Manifests {
  readonly #options: ManifestsOptions;
  readonly #cache = new LRUCache<Digest, Read>({
    maxSize: CACHE_BYTES,
    sizeCalculation: (entry) => entry.bytes.length + 512,
  });
  readonly #flights = new Flights<Manifest>();
  /** The repository that the flight of a digest asks. */
  readonly #askedOf = new Map<Digest, string>();

  /** One for a digest at a time: each holds the whole of it. */
  readonly #reads = new Map<Digest, Promise<Read | undefined>>();
  /** Layers and configs that were asked for as manifests: containerd does so, and once is enough to read 4 MiB. */
  readonly #noManifests = new LRUCache<Digest, true>({ max: 10_000 });

  constructor(options: ManifestsOptions) {
    this.#options = options;
    options.store.subscribe((event) => {
      // What rotted on the disk may have been read into memory; what was deleted is not to be served.
      if (event.type === 'removed' && event.reason !== 'evicted') this.#cache.delete(event.digest);
    });
    // Damaged, dropped or closed: what was read of it is not to be served either.
    options.content?.subscribe(({ removed }) => {
      for (const digest of removed) this.#cache.delete(digest);
    });
  }

  /** See Descriptors. */
  pullIdOf(origin: RepositoryName, digest: Digest): string {
    return this.#options.descriptors.pullIdOf(origin, digest);
  }

  /** Only what is here. Undefined too if that digest is held, but is no manifest. */
  async held(origin: RepositoryName, digest: Digest): Promise<Manifest | undefined> {
    const cached = this.#cache.get(digest) ?? (await this.#fromStore(digest));
    if (cached === undefined) return undefined;
    if (cached.info !== undefined) this.#options.descriptors.remember(origin, digest, cached.info);
    return { digest, mediaType: cached.mediaType, bytes: cached.bytes, source: 'store' };
  }

  /** @throws as RegistryClient does; DIGEST_MISMATCH. Leaving (by the signal) does not end a fetch. */
  async get(origin: RepositoryName, digest: Digest, signal: AbortSignal): Promise<Manifest> {
    const held = await this.held(origin, digest);
    if (held !== undefined) return held;
    const content = await this.#fromContent(origin, digest, signal);
    if (content !== undefined) return content;
    const own = Origins.keyOf(origin);
    const fetch = (flightSignal: AbortSignal) => this.#fetch(origin, digest, flightSignal);
    const askedOf = this.#askedOf.get(digest) ?? own;
    try {
      return await this.#flights.join(digest, signal, (flightSignal) => {
        this.#askedOf.set(digest, own);
        return fetch(flightSignal).finally(() => this.#askedOf.delete(digest));
      });
    } catch (error) {
      // What another repository answered says nothing of this one.
      if (askedOf === own || signal.aborted) throw error;
    }
    return this.#flights.join(`${own}@${digest}`, signal, fetch);
  }

  /** Forgets it; the store's copy goes by the store. @returns was it here? */
  purge(digest: Digest): boolean {
    return this.#cache.delete(digest);
  }

  /**
   * GET by tag, for upstreams whose HEAD does not tell the digest. Counts as the fetch of that manifest.
   * @throws as `get`; UPSTREAM_NONSENSE if it is no manifest.
   */
  async getByTag(origin: RepositoryName, tag: string, signal: AbortSignal): Promise<Manifest> {
    const client = this.#options.registries.get(origin.registry);
    const body = await client.getManifest(origin.repository, tag, { signal });
    if (readManifest(body.bytes) === undefined) {
      throw new WindlassError('UPSTREAM_NONSENSE', `${Origins.keyOf(origin)}:${tag}: the answer is no manifest`);
    }
    // The header may name a sha512; else the digest is ours to compute.
    const digest = digestOf(body.bytes, body.digest === undefined ? 'sha256' : algorithmOf(body.digest));
    if (body.digest !== undefined && body.digest !== digest)
      throw this.#mismatch(origin, body.digest, digest, 'upstream');
    const manifest = await this.#accept(origin, digest, body, 'upstream');
    await this.#tell(origin, manifest);
    return manifest;
  }

  async #fetch(origin: RepositoryName, digest: Digest, signal: AbortSignal): Promise<Manifest> {
    const { store, content, swarm, registries } = this.#options;
    const upstream = new ManifestSource(registries);
    // A blob that is held, and is no manifest: the swarm has nothing better, and would hear that it is not held.
    const here = store.stat(digest) ?? content?.get(digest);
    const isBlob = here !== undefined && (here.sizeBytes > MAX_MANIFEST_BYTES || this.#noManifests.has(digest));
    if (swarm === undefined || isBlob) {
      const bytes = await collectManifest(await upstream.open(origin, digest, { offset: 0, signal }));
      const actual = digestOf(bytes, algorithmOf(digest));
      if (actual !== digest) throw this.#mismatch(origin, digest, actual, 'upstream');
      return this.#accept(origin, digest, { bytes, contentType: upstream.contentType }, 'upstream');
    }
    for (let again = false; ; again = true) {
      const source = new SwarmSource(swarm, upstream, { digest, inline: true, asManifest: true });
      let error: WindlassError | undefined;
      try {
        const bytes = await collectManifest(await source.open(origin, digest, { offset: 0, signal }));
        const actual = digestOf(bytes, algorithmOf(digest));
        if (actual === digest) {
          const manifest = await this.#accept(
            origin,
            digest,
            { bytes, contentType: upstream.contentType },
            source.label,
          );
          source.ended({ state: 'committed' }, bytes.length, bytes.length <= INLINE_BYTES ? bytes : undefined);
          return manifest;
        }
        error = this.#mismatch(origin, digest, actual, source.label);
      } catch (failure) {
        error = failure instanceof WindlassError ? failure : new WindlassError('UPSTREAM_UNAVAILABLE', String(failure));
        if (signal.aborted) error = new WindlassError('STOPPING', 'nobody waits for it any more');
        source.ended({ state: 'failed', error }, undefined);
        throw failure;
      }
      // Whoever vouched for wrong bytes is left out now: once more.
      const upstreams = source.ended({ state: 'failed', error }, undefined);
      if (upstreams || again) throw error;
    }
  }

  #mismatch(origin: RepositoryName, expected: Digest, actual: Digest, source: SourceLabel): WindlassError {
    this.#options.metrics.verificationFailures.inc({ source });
    const error = new WindlassError(
      'DIGEST_MISMATCH',
      `${Origins.keyOf(origin)}: the manifest sent for ${expected} has digest ${actual}`,
    );
    this.#options.logger.error({ origin: Origins.keyOf(origin), digest: expected, err: error }, 'wrong manifest');
    return error;
  }

  /** Fetched without a claim for its digest, which was not known: nobody else need fetch it. */
  async #tell(origin: RepositoryName, { digest, bytes }: Manifest): Promise<void> {
    const { swarm } = this.#options;
    if (swarm === undefined) return;
    const small = bytes.length <= INLINE_BYTES ? { bytes } : {};
    swarm.claims.held(swarm.blobKey(digest), await swarm.sourceOf(origin), { sizeBytes: bytes.length, ...small });
  }

  async #accept(
    origin: RepositoryName,
    digest: Digest,
    body: Pick<ManifestBody, 'bytes' | 'contentType'>,
    source: SourceLabel,
  ): Promise<Manifest> {
    const info = readManifest(body.bytes);
    const mediaType = info?.mediaType ?? bareMediaType(body.contentType ?? 'application/octet-stream');
    this.#cache.set(digest, { mediaType, bytes: body.bytes, info });
    if (info !== undefined) this.#options.descriptors.remember(origin, digest, info);
    await this.#keep(digest, body.bytes);
    this.#options.logger.info(
      {
        pull: this.pullIdOf(origin, digest),
        origin: Origins.keyOf(origin),
        digest,
        mediaType,
        sizeBytes: body.bytes.length,
      },
      'manifest fetched',
    );
    return { digest, mediaType, bytes: body.bytes, source };
  }

  /** Best effort: a manifest that cannot be kept is served all the same. */
  async #keep(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { store, logger } = this.#options;
    if (store.stat(digest) !== undefined) return;
    try {
      const writer = await store.create(digest, { sizeBytes: bytes.length, fresh: true });
      try {
        await writer.write([bytes]);
        await writer.verify();
        await writer.commit();
      } catch (error) {
        await writer.cancel();
        throw error;
      } finally {
        await writer.close();
      }
    } catch (error) {
      // An ingest of the same digest as a blob may be under way; then that one keeps it.
      logger.debug({ digest, err: error }, 'manifest not kept');
    }
  }

  /** Undefined too for a copy that cannot be read: it is fetched again. */
  #fromStore(digest: Digest): Promise<Read | undefined> {
    const running = this.#reads.get(digest);
    if (running !== undefined) return running;
    const read = this.#openAndRead(digest).finally(() => this.#reads.delete(digest));
    this.#reads.set(digest, read);
    return read;
  }

  /** Undefined too where its bytes are wrong, or it was dropped meanwhile: it is fetched. */
  async #fromContent(origin: RepositoryName, digest: Digest, signal: AbortSignal): Promise<Manifest | undefined> {
    const { content, descriptors } = this.#options;
    if (content === undefined || this.#noManifests.has(digest)) return undefined;
    const bytes = await content.bytes(digest, MAX_MANIFEST_BYTES, signal);
    if (bytes === undefined || content.get(digest) === undefined) return undefined;
    const entry = this.#understand(digest, bytes);
    if (entry === undefined) return undefined;
    descriptors.remember(origin, digest, entry.info);
    return { digest, mediaType: entry.mediaType, bytes: entry.bytes, source: 'content' };
  }

  /** Keeps verified bytes in memory if they are a manifest. */
  #understand(digest: Digest, bytes: Uint8Array) {
    const info = readManifest(bytes);
    if (info === undefined) {
      this.#noManifests.set(digest, true);
      return undefined;
    }
    const entry = { mediaType: info.mediaType, bytes, info };
    this.#cache.set(digest, entry);
    return entry;
  }

  async #openAndRead(digest: Digest): Promise<Read | undefined> {
    const { store, logger } = this.#options;
    const found = store.stat(digest);
    if (found === undefined || found.sizeBytes > MAX_MANIFEST_BYTES || found.sizeBytes === 0) return undefined;
    if (this.#noManifests.has(digest)) return undefined;
    try {
      const blob = await store.open(digest);
      return blob === undefined ? undefined : await this.#read(blob);
    } catch (error) {
      logger.error({ digest, err: error }, 'stored manifest could not be read');
      return undefined;
    }
  }

  async #read(blob: OpenBlob): Promise<Read | undefined> {
    const { digest } = blob;
    try {
      const bytes = new Uint8Array(blob.sizeBytes);
      let position = 0;
      while (position < bytes.length) {
        const count = await blob.read(bytes.subarray(position), position);
        if (count === 0) break;
        position += count;
      }
      // The disk may have changed since the commit, and this is read once, then kept in memory.
      if (digestOf(bytes, algorithmOf(digest)) !== digest) {
        await this.#options.store.delete(digest, 'corrupt');
        return undefined;
      }
      return this.#understand(digest, bytes);
    } finally {
      await blob.close();
    }
  }
}
