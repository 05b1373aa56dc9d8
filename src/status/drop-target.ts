import { WindlassError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { parseRegistryHost, parseRepository, parseTag, type RepositoryName } from '../oci/reference.ts';

/** What can be dropped: a blob or manifest by its digest, or what a tag was last seen to name. */
export type DropTarget =
  | { readonly kind: 'digest'; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly name: RepositoryName; readonly tag: string };

const EXAMPLES = 'write sha256:…, or a tag with its registry, as in docker.io/library/redis:7';

/**
 * `sha256:…`, or `docker.io/library/redis:7`; of `docker.io/library/redis@sha256:…` the digest counts.
 * @throws INVALID_NAME, with what would be right in its message
 */
export function parseDropTarget(text: string): DropTarget {
  const digest = text.slice(text.indexOf('@') + 1);
  if (isDigest(digest)) return { kind: 'digest', digest };
  if (text.includes('@') || /^sha\d+:/.test(text)) throw notOne(text, 'the digest is none');

  const slash = text.indexOf('/');
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(0, slash));
  if (slash === -1 || !(/[.:]/.test(host) || host === 'localhost')) throw notOne(text, 'it names no registry');
  if (colon < slash) throw notOne(text, 'it names no tag');
  try {
    return {
      kind: 'tag',
      name: { registry: parseRegistryHost(host), repository: parseRepository(text.slice(slash + 1, colon)) },
      tag: parseTag(text.slice(colon + 1)),
    };
  } catch (cause) {
    throw notOne(text, cause instanceof Error ? cause.message : String(cause));
  }
}

/** As `parseDropTarget` reads it. */
export function showDropTarget(target: DropTarget): string {
  if (target.kind === 'digest') return target.digest;
  return `${target.name.registry}/${target.name.repository}:${target.tag}`;
}

function notOne(text: string, why: string): WindlassError {
  return new WindlassError(
    'INVALID_NAME',
    `neither a digest nor a tag: ${JSON.stringify(text.slice(0, 200))} (${why}); ${EXAMPLES}`,
  );
}
