import { hasCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobBody, ManifestBody, Registries } from '../upstream/registry-client.ts';
import type { BlobOpening, BlobSource } from './blob-source.ts';

/** One manifest, from upstream, as a source like others. Always from its beginning. */
export class ManifestSource implements BlobSource {
  readonly label = 'upstream';
  /** As upstream said, once it was asked. */
  contentType: string | undefined;
  readonly #registries: Registries;

  constructor(registries: Registries) {
    this.#registries = registries;
  }

  async open(origin: RepositoryName, digest: Digest, { signal }: BlobOpening): Promise<BlobBody> {
    const { bytes, contentType } = await this.#get(origin, digest, signal);
    this.contentType = contentType;
    return { sizeBytes: bytes.length, offset: 0, body: once(bytes) };
  }

  async #get(origin: RepositoryName, digest: Digest, signal: AbortSignal): Promise<ManifestBody> {
    const client = this.#registries.get(origin.registry);
    try {
      return await client.getManifest(origin.repository, digest, { signal });
    } catch (error) {
      // Cut off, or a stale connection: once more. What asks to be left alone, is.
      if (!hasCode(error, 'UPSTREAM_UNAVAILABLE', 'UPSTREAM_STALLED') || error.retryAfterMs !== undefined) throw error;
      signal.throwIfAborted();
      return client.getManifest(origin.repository, digest, { signal });
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
