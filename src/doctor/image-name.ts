import { WindlassError } from '../errors.ts';
import { isDigest } from '../oci/digest.ts';
import { parseRegistryHost, parseRepository, parseTag } from '../oci/reference.ts';

/** An image, by its tag or digest. */
export interface ImageName {
  /** As it was written. */
  readonly text: string;
  readonly registry: string;
  readonly repository: string;
  /** Its tag or digest. */
  readonly reference: string;
}

/**
 * `docker.io/library/redis:7`, `quay.io/a/b@sha256:…`; as in a Pod's `image`, so `redis` is Docker Hub's, and `latest`.
 * @throws INVALID_NAME
 */
export function parseImageName(text: string): ImageName {
  const [name = '', digest] = text.split('@', 2);
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(0, slash));
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  const path = hasHost ? name.slice(slash + 1) : name;
  const colon = path.lastIndexOf(':');
  const repository = colon === -1 ? path : path.slice(0, colon);
  if (digest !== undefined && !isDigest(digest)) {
    throw new WindlassError('INVALID_NAME', `not an image: ${JSON.stringify(text.slice(0, 200))} (the digest is none)`);
  }
  return {
    text,
    registry: hasHost ? parseRegistryHost(first) : 'docker.io',
    repository: parseRepository(hasHost || repository.includes('/') ? repository : `library/${repository}`),
    reference: digest ?? (colon === -1 ? 'latest' : parseTag(path.slice(colon + 1))),
  };
}
