import { createHash } from 'node:crypto';
import { WindlassError } from '../errors.ts';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { BlobBody } from '../upstream/registry-client.ts';

/** The whole body. @throws UPSTREAM_NONSENSE for more than a manifest may have. */
export async function collectManifest({ body }: BlobBody): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_MANIFEST_BYTES) throw new WindlassError('UPSTREAM_NONSENSE', 'too large for a manifest');
    // A source may use the chunk's memory again.
    chunks.push(chunk.slice());
  }
  return Buffer.concat(chunks);
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}
