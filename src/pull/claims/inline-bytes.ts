import { createHash } from 'node:crypto';
import { algorithmOf, hexOf, isDigest } from '../../oci/digest.ts';
import { MAX_TAG_AGE_MS } from '../../routing/holder-index.ts';
import { BoundedMap } from './bounded-map.ts';
import { INLINE_BYTES } from './messages.ts';

const MAX_BYTES = 32 * 1024 * 1024;
const MAX_KEYS = 20_000;

interface Inline {
  readonly bytes: Uint8Array;
  /** When they were so, by our clock: of a tag, when upstream said so. */
  readonly atMs: number;
}

/** Small blobs, manifests and tags' answers, of all keys that are kept here. The least recently asked go first. */
export class InlineBytes {
  readonly #bytes = new BoundedMap<string, Inline>(MAX_KEYS);
  #total = 0;

  /** @returns false where they are too many, are not what the key says, or are older than what is here. */
  set(key: string, bytes: Uint8Array, ageMs: number, nowMs: number): boolean {
    if (bytes.length > INLINE_BYTES || !isWhatKeySays(key, bytes)) return false;
    const atMs = nowMs - ageMs;
    if ((this.#bytes.peek(key)?.atMs ?? atMs) > atMs) return false;
    this.delete(key);
    const evicted = this.#bytes.set(key, { bytes, atMs });
    this.#total += bytes.length - (evicted?.[1].bytes.length ?? 0);
    while (this.#total > MAX_BYTES) this.#total -= this.#bytes.shift()?.[1].bytes.length ?? this.#total;
    return true;
  }

  get(key: string, nowMs: number): { readonly bytes: Uint8Array; readonly ageMs: number } | undefined {
    const inline = this.#bytes.get(key);
    if (inline === undefined) return undefined;
    return { bytes: inline.bytes, ageMs: Math.min(MAX_TAG_AGE_MS, Math.max(0, nowMs - inline.atMs)) };
  }

  delete(key: string): void {
    this.#total -= this.#bytes.peek(key)?.bytes.length ?? 0;
    this.#bytes.delete(key);
  }
}

/** Of a blob, whether they have its digest; of a tag, anything may be. */
export function isWhatKeySays(key: string, bytes: Uint8Array): boolean {
  if (!key.startsWith('blob:')) return true;
  const digest = key.slice('blob:'.length);
  return isDigest(digest) && createHash(algorithmOf(digest)).update(bytes).digest('hex') === hexOf(digest);
}
