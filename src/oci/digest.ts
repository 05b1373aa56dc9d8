import { WindlassError } from '../errors.ts';

/** `sha256:<64 hex>` or `sha512:<128 hex>`, in lower case: parsed, so safe as part of a path. */
export type Digest = string & { readonly __brand: 'Digest' };

export type DigestAlgorithm = 'sha256' | 'sha512';

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws INVALID_DIGEST, naming the value (cut at 200 characters). */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new WindlassError(
      'INVALID_DIGEST',
      `not a digest: ${JSON.stringify(text.slice(0, 200))} (expected sha256:<64 hex> or sha512:<128 hex>, in lower case)`,
    );
  }
  return text;
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

const OF_NOTHING: ReadonlySet<string> = new Set([
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
]);

/** Only this digest can have 0 bytes; of no other length can a client be told that it has the whole before the end. */
export function isDigestOfNothing(digest: Digest): boolean {
  return OF_NOTHING.has(digest);
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}
