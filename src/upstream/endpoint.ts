import { WindlassError } from '../errors.ts';
import { isLoopbackName } from './address-guard.ts';

/** Where a registry really answers, for the names under which it is known by a reference. */
const WELL_KNOWN: Readonly<Record<string, string>> = {
  'docker.io': 'https://registry-1.docker.io',
  'index.docker.io': 'https://registry-1.docker.io',
};

/**
 * @param host as clients name it.
 * @param configured what the settings say, if they say it.
 * @throws REGISTRY_DENIED if the host cannot be part of a URL.
 */
export function endpointOf(host: string, configured: string | undefined): URL {
  const text = configured ?? WELL_KNOWN[host] ?? `https://${host}`;
  if (!URL.canParse(text)) {
    throw new WindlassError('REGISTRY_DENIED', `not a registry's address: ${JSON.stringify(text.slice(0, 200))}`);
  }
  const url = new URL(text);
  // A registry on this machine has hardly ever a certificate, and nobody listens in between.
  return configured === undefined && isLoopbackName(url.hostname) ? new URL(`http://${host}`) : url;
}

/** Under which names a docker config may hold a registry's credentials. `docker login` writes index.docker.io for the Hub. */
export function credentialHosts(host: string, endpoint: URL): readonly string[] {
  const hub = host in WELL_KNOWN ? ['docker.io', 'index.docker.io', 'registry-1.docker.io'] : [];
  return [...new Set([host, endpoint.host, ...hub])];
}

/** Docker Hub's official images live under library/; runtimes add it, people and scripts do not. */
export function upstreamRepository(host: string, repository: string): string {
  return host in WELL_KNOWN && !repository.includes('/') ? `library/${repository}` : repository;
}

/**
 * @param path below the repository, with its query: `manifests/latest`.
 * @throws INVALID_NAME if the path leaves the repository.
 */
export function repositoryUrl(endpoint: URL, repository: string, path: string): URL {
  const base = `${endpoint.pathname.replace(/\/+$/, '')}/v2/${repository}/`;
  const url = new URL(`${endpoint.origin}${base}${path}`);
  if (url.origin !== endpoint.origin || !url.pathname.startsWith(base) || /%2f|%5c|\\/i.test(url.pathname)) {
    throw new WindlassError('INVALID_NAME', `not a path below a repository: ${JSON.stringify(path.slice(0, 200))}`);
  }
  return url;
}
