import { WindlassError } from '../errors.ts';
import { type Digest, isDigest, parseDigest } from '../oci/digest.ts';
import { parseRegistryHost, parseRepository, parseTag, type RepositoryName } from '../oci/reference.ts';

/** What a request below /v2/ asks for. */
export type Target =
  | { readonly kind: 'ping' }
  | { readonly kind: 'manifest'; readonly origin: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly origin: RepositoryName; readonly tag: string }
  | { readonly kind: 'blob'; readonly origin: RepositoryName; readonly digest: Digest }
  /** Passed on to upstream; `path` is below /v2/<repository>/, with its query, `ns` left out. */
  | { readonly kind: 'relay'; readonly origin: RepositoryName; readonly path: string };

export interface PathOptions {
  readonly defaultRegistry: string;
  /** Is this host on the allow-list? */
  readonly isListed: (host: string) => boolean;
}

/** A repository has at most 255 characters, a digest 135; the rest is room for escapes. */
const MAX_URL_LENGTH = 2048;
const DOCKER_HUB_NAMES = new Set(['index.docker.io', 'registry-1.docker.io']);

/**
 * Reads a request's path and query. Which registry: `ns` first; else the path's first segment if it is listed and
 * looks like a host (a dot, a colon, or localhost); else the default.
 *
 * Nothing here is handed on as a path: each part has passed the distribution spec's grammar, so neither `..` nor an
 * encoded slash can mean anything.
 *
 * @throws INVALID_NAME, INVALID_DIGEST; NOT_FOUND for a path that is none of the API's.
 */
export function readTarget(rawUrl: string, options: PathOptions): Target {
  if (rawUrl.length > MAX_URL_LENGTH) {
    throw new WindlassError(
      'INVALID_NAME',
      `the path has ${rawUrl.length} characters; at most ${MAX_URL_LENGTH} are read`,
    );
  }
  const queryAt = rawUrl.indexOf('?');
  const path = queryAt === -1 ? rawUrl : rawUrl.slice(0, queryAt);
  const query = new URLSearchParams(queryAt === -1 ? '' : rawUrl.slice(queryAt + 1));
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' };
  if (!path.startsWith('/v2/'))
    throw new WindlassError('NOT_FOUND', `no such path: ${JSON.stringify(path.slice(0, 200))}`);

  const segments = path.slice('/v2/'.length).split('/').map(decodeSegment);
  const last = segments.at(-1) ?? '';
  const kind = segments.at(-2);
  const origin = () => readOrigin(segments.slice(0, -2), query, options);
  if (kind === 'blobs') return { kind: 'blob', digest: parseDigest(last), origin: origin() };
  if (kind === 'manifests') {
    // A tag has no colon, so this can only have been meant as a digest.
    if (isDigest(last) || last.includes(':')) return { kind: 'manifest', digest: parseDigest(last), origin: origin() };
    return { kind: 'tag', tag: parseTag(last), origin: origin() };
  }
  if (kind === 'tags' && last === 'list')
    return { kind: 'relay', origin: origin(), path: withQuery('tags/list', query) };
  if (kind === 'referrers') {
    return { kind: 'relay', origin: origin(), path: withQuery(`referrers/${parseDigest(last)}`, query) };
  }
  throw new WindlassError('NOT_FOUND', `no such path: ${JSON.stringify(path.slice(0, 200))}`);
}

function decodeSegment(segment: string): string {
  if (!segment.includes('%')) return segment;
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch (cause) {
    throw new WindlassError('INVALID_NAME', `not a path: ${JSON.stringify(segment.slice(0, 200))}`, { cause });
  }
  if (decoded.includes('/')) {
    throw new WindlassError('INVALID_NAME', `an encoded slash in the path: ${JSON.stringify(segment.slice(0, 200))}`);
  }
  return decoded;
}

function readOrigin(segments: readonly string[], query: URLSearchParams, options: PathOptions): RepositoryName {
  const namespaces = query.getAll('ns');
  if (namespaces.length > 1) throw new WindlassError('INVALID_NAME', 'more than one ns in the query');
  const [first = ''] = segments;
  if (namespaces[0] !== undefined) return named(parseRegistryHost(namespaces[0]), segments, options);
  if (segments.length > 1 && looksLikeHost(first) && options.isListed(first.toLowerCase())) {
    return named(parseRegistryHost(first), segments.slice(1), options);
  }
  return named(options.defaultRegistry, segments, options);
}

function named(host: string, segments: readonly string[], options: PathOptions): RepositoryName {
  const registry = DOCKER_HUB_NAMES.has(host) && !options.isListed(host) ? 'docker.io' : host;
  const repository = parseRepository(segments.join('/'));
  // Docker Hub's short names: the same repository must have one name here.
  return {
    registry,
    repository: registry === 'docker.io' && segments.length === 1 ? `library/${repository}` : repository,
  };
}

function looksLikeHost(segment: string): boolean {
  return segment.includes('.') || segment.includes(':') || segment === 'localhost';
}

function withQuery(path: string, query: URLSearchParams): string {
  const rest = new URLSearchParams(query);
  rest.delete('ns');
  return rest.size === 0 ? path : `${path}?${rest}`;
}
