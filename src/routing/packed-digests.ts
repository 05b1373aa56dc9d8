import { type Digest, hexOf, isDigest } from '../oci/digest.ts';
import { MAX_DIGESTS, type Packed } from './index-messages.ts';

const SHA256_BYTES = 32;

/** Digests as they travel: see index-messages.ts. */
export function packDigests(digests: Iterable<string>): Packed {
  const parts: Buffer[] = [];
  const others: string[] = [];
  for (const digest of digests) {
    if (digest.startsWith('sha256:')) parts.push(Buffer.from(hexOf(digest as Digest), 'hex'));
    else others.push(digest);
  }
  return { sha256: Buffer.concat(parts).toString('base64'), others };
}

/** Undefined for what is no list of digests. */
export function unpackDigests(packed: Packed): Digest[] | undefined {
  const bytes = Buffer.from(packed.sha256, 'base64');
  if (bytes.length % SHA256_BYTES !== 0 || bytes.length / SHA256_BYTES > MAX_DIGESTS) return undefined;
  const digests: Digest[] = [];
  for (let at = 0; at < bytes.length; at += SHA256_BYTES) {
    digests.push(`sha256:${bytes.toString('hex', at, at + SHA256_BYTES)}` as Digest);
  }
  for (const other of packed.others) {
    if (!isDigest(other)) return undefined;
    digests.push(other);
  }
  return digests;
}
