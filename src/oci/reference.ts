import { isIPv6 } from 'node:net';
import { WindlassError } from '../errors.ts';

/** The distribution spec's grammar of a repository name, a tag; and a registry's host with an optional port. */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HOST = /^(?:\[([0-9a-fA-F:.]+)\]|[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?)(?::([0-9]{1,5}))?$/;
const MAX_REPOSITORY_LENGTH = 255;
/** A host name's 255 and a port. */
const MAX_HOST_LENGTH = 261;

/** A repository at a registry, as clients name it: `docker.io` + `library/redis`. */
export interface RepositoryName {
  /** Host and optional port, in lower case. */
  readonly registry: string;
  readonly repository: string;
}

export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

/** @throws INVALID_NAME */
export function parseRepository(text: string): string {
  if (!isRepository(text)) {
    throw new WindlassError('INVALID_NAME', `not a repository name: ${JSON.stringify(text.slice(0, 200))}`);
  }
  return text;
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** @throws INVALID_NAME */
export function parseTag(text: string): string {
  if (!isTag(text)) throw new WindlassError('INVALID_NAME', `not a tag: ${JSON.stringify(text.slice(0, 200))}`);
  return text;
}

/** @throws INVALID_NAME */
export function parseRegistryHost(text: string): string {
  if (!isRegistryHost(text)) {
    throw new WindlassError('INVALID_NAME', `not a registry host: ${JSON.stringify(text.slice(0, 200))}`);
  }
  return text.toLowerCase();
}

function isRegistryHost(text: string): boolean {
  const match = text.length > MAX_HOST_LENGTH ? null : HOST.exec(text);
  if (match === null || text.includes('..')) return false;
  const [, ipv6, port] = match;
  if (ipv6 !== undefined && !isIPv6(ipv6)) return false;
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
}
