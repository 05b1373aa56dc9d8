/** @import { BlobName } from '../agent-status.ts' */

/**
 * What a person calls a blob: the repository, where it may be known, else the registry.
 * @param {BlobName} blob
 */
export function titleOf({ registry, repository }) {
  return repository === null ? registry : `${registry}/${repository}`;
}

/**
 * @param {string} digest
 * @returns {string} `0123456789ab`
 */
export function shortOf(digest) {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}

/**
 * Where bytes came from that are neither a peer's nor a registry's.
 * @param {string} source
 */
export function sourceOf(source) {
  return source === 'content' ? 'containerd' : source;
}
