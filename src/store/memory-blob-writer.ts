import { createHash } from 'node:crypto';
import { WindlassError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import type { BlobWriter } from './blob-store.ts';
import type { MemoryTail } from './memory-tail.ts';

/** What a writer needs of its store. */
export interface MemoryWriterHost {
  /** Room for `bytes` in all? */
  reserve(bytes: number): Promise<boolean>;
  /** It ended: its bytes become a blob, are kept for a later writer, or go. */
  end(outcome: 'commit' | 'keep' | 'drop', tail: MemoryTail): void;
  /** Nobody reads it any more. */
  closed(): void;
}

type State = 'writing' | 'checking' | 'verified' | 'failed' | 'ended';

/** A blob being written in memory: `kept` only says whether it will be in the end. States as in BlobWriter. */
export class MemoryBlobWriter implements BlobWriter {
  readonly digest: Digest;
  readonly file = undefined;
  readonly fileBytes = 0;
  readonly #host: MemoryWriterHost;
  readonly #tail: MemoryTail;
  readonly #hash;
  #kept = true;
  #state: State = 'writing';
  #closed = false;
  /** Where this writer ended: a later one may go on with the same bytes. */
  #endedAt: number | undefined;

  /** @param tail the bytes of an earlier writer, from 0 on */
  constructor(digest: Digest, host: MemoryWriterHost, tail: MemoryTail) {
    this.digest = digest;
    this.#host = host;
    this.#tail = tail;
    this.#hash = createHash(algorithmOf(digest));
    const buffer = new Uint8Array(64 * 1024);
    for (let position = 0; position < tail.end; ) {
      const count = tail.read(buffer, position);
      this.#hash.update(buffer.subarray(0, count));
      position += count;
    }
  }

  get written(): number {
    return this.#endedAt ?? this.#tail.end;
  }

  get kept(): boolean {
    return this.#kept;
  }

  get floor(): number {
    return this.#kept ? 0 : this.#tail.floor;
  }

  /** Its store had no room. */
  pass(): void {
    this.#kept = false;
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    this.#expect('writing');
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    if (this.#kept && !(await this.#host.reserve(this.written + bytes))) this.pass();
    this.#expect('writing');
    for (const chunk of chunks) {
      this.#hash.update(chunk);
      this.#tail.append(chunk);
    }
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    if (this.#closed) throw new Error(`the writer of ${this.digest} is closed`);
    return this.#tail.read(target.subarray(0, Math.max(0, this.written - position)), position);
  }

  discard(position: number): void {
    if (!this.#kept) this.#tail.discard(position);
  }

  async verify(): Promise<void> {
    this.#expect('writing');
    this.#state = 'checking';
    const hex = this.#hash.digest('hex');
    if (hex !== hexOf(this.digest)) {
      this.#state = 'failed';
      const got = `${algorithmOf(this.digest)}:${hex}`;
      throw new WindlassError('DIGEST_MISMATCH', `expected ${this.digest}, got ${got} (${this.written} bytes)`);
    }
    this.#state = 'verified';
  }

  async commit(): Promise<void> {
    this.#expect('verified');
    this.#state = 'ended';
    this.#endedAt = this.#tail.end;
    this.#host.end(this.#kept ? 'commit' : 'drop', this.#tail);
  }

  async cancel({ keep = false }: { readonly keep?: boolean } = {}): Promise<void> {
    if (this.#state === 'ended') return;
    const keeps = keep && this.#kept && this.#state !== 'failed' && this.written > 0;
    this.#state = 'ended';
    this.#endedAt = this.#tail.end;
    this.#host.end(keeps ? 'keep' : 'drop', this.#tail);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.cancel({ keep: true });
    this.#closed = true;
    this.#host.closed();
  }

  #expect(state: State): void {
    if (this.#state !== state) {
      throw new Error(`the writer of ${this.digest} is ${this.#state}, not ${state}`);
    }
  }
}
