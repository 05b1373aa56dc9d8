import { createHash } from 'node:crypto';

const BYTES = 16;

/** A checksum of a set of digests, whatever their order. */
export class DigestChecksum {
  readonly #sum = new Uint8Array(BYTES);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(digest: string): void {
    // Hashed, so that nobody's digests cancel each other out by their beginnings.
    const hash = createHash('sha256').update(digest).digest();
    for (let at = 0; at < BYTES; at += 1) this.#sum[at] = (this.#sum[at] ?? 0) ^ (hash[at] ?? 0);
    this.#count += 1;
  }

  text(): string {
    return Buffer.from(this.#sum).toString('base64url');
  }
}
