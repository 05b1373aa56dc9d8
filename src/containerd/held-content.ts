import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { InfoMessage } from './content-api.ts';
import { sourcesOf } from './source-labels.ts';

/** One content of containerd that came from a registry. */
export interface HeldContent {
  readonly sizeBytes: number;
  /** Wall clock: when containerd committed it. */
  readonly createdMs: number;
  /** Where containerd got it; never empty. */
  readonly sources: readonly RepositoryName[];
}

/** Many contents have the same sources, and there may be 100,000: each list is kept once. */
export class HeldContents {
  readonly #byDigest = new Map<Digest, HeldContent>();
  readonly #sources = new Map<string, readonly RepositoryName[]>();

  get size(): number {
    return this.#byDigest.size;
  }

  get(digest: Digest): HeldContent | undefined {
    return this.#byDigest.get(digest);
  }

  entries(): IterableIterator<[Digest, HeldContent]> {
    return this.#byDigest.entries();
  }

  /** @returns false if it came from no registry that is known: it was built or imported here, and is nobody else's. */
  put(digest: Digest, { size, createdAt, labels }: InfoMessage): boolean {
    const sources = this.#once(sourcesOf(labels));
    if (sources.length === 0) return false;
    this.#byDigest.set(digest, { sizeBytes: size, createdMs: (createdAt?.seconds ?? 0) * 1000, sources });
    return true;
  }

  delete(digest: Digest): boolean {
    const deleted = this.#byDigest.delete(digest);
    if (this.#byDigest.size === 0) this.#sources.clear();
    return deleted;
  }

  #once(sources: readonly RepositoryName[]): readonly RepositoryName[] {
    const key = sources.map(({ registry, repository }) => `${registry}/${repository}`).join();
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    this.#sources.set(key, sources);
    return sources;
  }
}
