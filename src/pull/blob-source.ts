import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobBody, Registries } from '../upstream/registry-client.ts';

export interface BlobOpening {
  /** The first byte wanted. */
  readonly offset: number;
  /** The last, inclusive; to the end where it is left out. */
  readonly end?: number;
  /** Of the whole blob, as far as the asker knows. */
  readonly sizeBytes?: number | undefined;
  readonly signal: AbortSignal;
}

/** Anything that the bytes of a blob can come from. Rooms beside `pull` implement it (peers, containerd's content). */
export interface BlobSource {
  /** Where its bytes, the last ones if that changes, come from. */
  readonly label: SourceLabel;
  /**
   * Opens the blob from `offset` on; what may come back instead is said at BlobBody. Rejects with NOT_FOUND where
   * this source does not have it: the next source is asked.
   */
  open(origin: RepositoryName, digest: Digest, options: BlobOpening): Promise<BlobBody>;
}

/** The registry itself: the last source. */
export class UpstreamSource implements BlobSource {
  readonly label = 'upstream';
  readonly #registries: Registries;

  constructor(registries: Registries) {
    this.#registries = registries;
  }

  async open(origin: RepositoryName, digest: Digest, { sizeBytes: _, ...options }: BlobOpening): Promise<BlobBody> {
    return this.#registries.get(origin.registry).getBlob(origin.repository, digest, options);
  }
}
