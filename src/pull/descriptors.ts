import { LRUCache } from 'lru-cache';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { ManifestInfo } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { Origins } from './origins.ts';

const MAX_ENTRIES = 50_000;
/** Manifests whose children are known to be entries: at some twenty each, no more than there is room for. */
const MAX_MANIFESTS = 2_000;
/** An index names manifests, and these name blobs; an index within an index is rare. */
const MAX_DEPTH = 4;
const PULL_ID_LENGTH = 12;

interface Named {
  readonly sizeBytes: number;
  /** The manifest that named it; undefined where upstream told the size itself. */
  readonly by: Digest | undefined;
}

/**
 * What manifests that were served said of blobs: their sizes, and so which pull a blob belongs to. Kept by
 * repository, so that a wrong manifest in one cannot make answers for another wrong.
 */
export class Descriptors {
  readonly #named = new LRUCache<string, Named>({ max: MAX_ENTRIES });
  readonly #remembered = new LRUCache<string, true>({ max: MAX_MANIFESTS });

  sizeOf(origin: RepositoryName, digest: Digest): number | undefined {
    return this.#named.get(keyOf(origin, digest))?.sizeBytes;
  }

  /** As upstream said when it was asked. */
  setSize(origin: RepositoryName, digest: Digest, sizeBytes: number): void {
    this.#named.set(keyOf(origin, digest), { sizeBytes, by: undefined });
  }

  /** Once for a manifest: it is called at every GET of one, and an index may name thousands. */
  remember(origin: RepositoryName, digest: Digest, manifest: ManifestInfo): void {
    const key = keyOf(origin, digest);
    if (this.#remembered.get(key) === true) return;
    this.#remembered.set(key, true);
    for (const child of manifest.children) {
      this.#named.set(keyOf(origin, child.digest), { sizeBytes: child.sizeBytes, by: digest });
    }
  }

  forget(origin: RepositoryName, digest: Digest): void {
    this.#named.delete(keyOf(origin, digest));
  }

  /**
   * For logs: the beginning of the digest of the topmost manifest that led to this one. The same for all that
   * one image consists of, and on every node; a blob that several images share has the one fetched last.
   */
  pullIdOf(origin: RepositoryName, digest: Digest): string {
    let top = digest;
    for (let depth = 0; depth < MAX_DEPTH; depth += 1) {
      const by = this.#named.peek(keyOf(origin, top))?.by;
      if (by === undefined) break;
      top = by;
    }
    return hexOf(top).slice(0, PULL_ID_LENGTH);
  }
}

function keyOf(origin: RepositoryName, digest: Digest): string {
  return `${Origins.keyOf(origin)}@${digest}`;
}
