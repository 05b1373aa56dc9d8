import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { WatchedFile } from '../config/watched-file.ts';
import { WindlassError } from '../errors.ts';
import type { PeerId } from './member.ts';
import { parseSecret } from './secret-contents.ts';

/** What a key is for: what is proven for one thing is worth nothing for another. */
export type SecretPurpose = 'windlass/libp2p/1' | 'windlass/data/1' | 'windlass/credentials/1';

export const MAX_SECRETS = 8;
const SALT = 'windlass-cluster-secret';
const PROOF = Buffer.from('windlass-proof/1\0');

export interface ClusterSecretsOptions {
  /** One, or several while it rotates: the new one is added everywhere, then the old one removed everywhere. */
  readonly files: readonly string[];
  readonly logger: Logger;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

interface Secrets {
  readonly contents: readonly Buffer[];
  readonly keys: Map<SecretPurpose, readonly Buffer[]>;
}

/**
 * The secrets that make an agent a member of this cluster, read again when their files change.
 *
 * A proof is an HMAC over who proves, to whom, and a context. Both peer ids are those that TLS proved, so a proof is
 * of no use between any other two: it cannot be passed on. Prover and verifier have places of their own, so it cannot
 * be sent back to whom it came from. The context is the caller's, and must be fresh where a proof must not be replayed
 * (nonces of both sides).
 */
export class ClusterSecrets {
  /** Everybody is let in (`cluster.insecure`). */
  readonly insecure: boolean;
  readonly #files: readonly WatchedFile<Buffer>[];
  readonly #logger: Logger | undefined;
  #current: Secrets | undefined;
  #warned: string | undefined;

  constructor(options: ClusterSecretsOptions | 'insecure') {
    this.insecure = options === 'insecure';
    if (options === 'insecure') {
      this.#files = [];
      this.#logger = undefined;
      this.#current = { contents: [Buffer.alloc(0)], keys: new Map() };
      return;
    }
    const { files, logger, now = () => performance.now() } = options;
    if (files.length === 0 || files.length > MAX_SECRETS) {
      const message = `expected 1 to ${MAX_SECRETS} files of cluster secrets, got ${files.length}`;
      throw new WindlassError('INVALID_SETTINGS', message);
    }
    this.#logger = logger;
    this.#files = files.map(
      (path) => new WatchedFile({ path, what: 'cluster secret', code: 'INVALID_SETTINGS', parse: parseSecret, now }),
    );
  }

  /** To be called once at the start. @throws INVALID_SETTINGS, naming the file that cannot be used. */
  async load(): Promise<void> {
    if (!this.insecure) this.#take(await this.#readFiles());
  }

  /** One for each secret, in the files' order: the verifier may know any of them. 32 bytes each. */
  async proofs(
    purpose: SecretPurpose,
    prover: PeerId,
    verifier: PeerId,
    context?: Uint8Array,
  ): Promise<readonly Uint8Array[]> {
    return (await this.keys(purpose)).map((key) => macOf(key, prover, verifier, context));
  }

  /** @returns the index of the secret that the proof was made with; undefined if there is none. Never throws. */
  async verify(
    purpose: SecretPurpose,
    prover: PeerId,
    verifier: PeerId,
    proof: Uint8Array,
    context?: Uint8Array,
  ): Promise<number | undefined> {
    if (this.insecure) return 0;
    if (prover === verifier) return undefined;
    let found: number | undefined;
    // All of them are tried, whichever fits.
    for (const [index, key] of (await this.keys(purpose)).entries()) {
      const expected = macOf(key, prover, verifier, context);
      if (proof.length === expected.length && timingSafeEqual(proof, expected)) found ??= index;
    }
    return found;
  }

  /** Keys of a purpose, one for each secret, for MACs of another shape. 32 bytes each; not to be kept. */
  async keys(purpose: SecretPurpose): Promise<readonly Buffer[]> {
    const { contents, keys } = await this.#secrets();
    let derived = keys.get(purpose);
    if (derived === undefined) {
      derived = contents.map((secret) => Buffer.from(hkdfSync('sha256', secret, SALT, purpose, 32)));
      keys.set(purpose, derived);
    }
    return derived;
  }

  /** As the files are now. */
  async #secrets(): Promise<Secrets> {
    if (this.insecure && this.#current !== undefined) return this.#current;
    return this.#take(await this.#readFiles());
  }

  /**
   * Of a file that cannot be used any more what it said last, while the others may change: half a rotation must not split
   * the cluster. @throws where one was never read.
   */
  async #readFiles(): Promise<readonly Buffer[]> {
    const read = await Promise.allSettled(this.#files.map((file) => file.read()));
    let message: string | undefined;
    const contents = read.map((one, index) => {
      if (one.status === 'fulfilled') return one.value;
      const last = this.#current?.contents[index];
      if (last === undefined) throw one.reason;
      message ??= one.reason instanceof Error ? one.reason.message : String(one.reason);
      return last;
    });
    if (message !== undefined && this.#warned !== message)
      this.#logger?.warn({ why: message }, 'cluster secret not read again: the last is used');
    this.#warned = message;
    return contents;
  }

  #take(contents: readonly Buffer[]): Secrets {
    const current = this.#current;
    // A WatchedFile gives the same object as long as the file is the same.
    if (current?.contents.every((content, index) => content === contents[index]) === true) return current;
    if (current !== undefined) this.#logger?.info({ count: contents.length }, 'cluster secrets read again');
    this.#current = { contents, keys: new Map() };
    return this.#current;
  }
}

function macOf(key: Buffer, prover: PeerId, verifier: PeerId, context: Uint8Array = new Uint8Array()): Buffer {
  const mac = createHmac('sha256', key).update(PROOF);
  // Each with its length: no two lists of parts give the same bytes.
  for (const part of [Buffer.from(prover), Buffer.from(verifier), context]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    mac.update(length).update(part);
  }
  return mac.digest();
}
