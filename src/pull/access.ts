import { hasCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Registries, RegistryClient } from '../upstream/registry-client.ts';
import { untilAborted } from './flights.ts';

/**
 * What a registry says of this agent and a digest. `closed`: refused, as is all else of the repository. `missing`: not
 * there, or not for us. `down`: the registry itself cannot be reached. `unsure`: all else; whoever can make a registry
 * refuse us (429), or break its certificate, must not open it so.
 */
export type Answer = 'open' | 'closed' | 'missing' | 'down' | 'unsure';

/** Never rejects. A manifest is none of a registry's blobs, and what is asked for may be either. */
export async function askAccess(
  registries: Registries,
  host: string,
  repository: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<Answer> {
  let refusal: 'closed' | 'missing' = 'missing';
  for (const isThere of [hasBlob, hasManifest]) {
    try {
      const there = await untilAborted(isThere(registries.get(host), repository, digest, signal), signal);
      if (there) return 'open';
      return refusal === 'closed' ? refusal : 'unsure';
    } catch (error) {
      if (hasCode(error, 'UPSTREAM_UNAUTHORIZED', 'REGISTRY_DENIED')) refusal = 'closed';
      else if (hasCode(error, 'NOT_FOUND') || refusal === 'closed') continue;
      else return hasCode(error, 'UPSTREAM_UNAVAILABLE') && error.registryDown ? 'down' : 'unsure';
    }
  }
  return refusal;
}

type Question = (client: RegistryClient, repository: string, digest: Digest, signal: AbortSignal) => Promise<boolean>;

const hasBlob: Question = async (client, repository, digest, signal) => {
  await client.headBlob(repository, digest, { signal });
  return true;
};

/** Where a registry knows no HEAD of manifests nothing is learned. */
const hasManifest: Question = async (client, repository, digest, signal) => {
  const head = await client.headManifest(repository, digest, { signal });
  return head.digest !== undefined || head.contentType !== undefined || head.sizeBytes !== undefined;
};
