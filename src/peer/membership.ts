import { LRUCache } from 'lru-cache';
import { type ClusterSecrets, MAX_SECRETS } from '../routing/cluster-secret.ts';
import type { PeerId } from '../routing/member.ts';

/** Carries proofs of membership, one for each secret: base64url, with commas between them. */
export const PROOF_HEADER = 'windlass-proof';

const PURPOSE = 'windlass/data/1';
const MAX_PEERS = 4_096;
/** 32 bytes. */
const PROOF_CHARS = 43;

interface Known {
  /** Of the secrets that it was made with: an array of its own for each version of them. */
  readonly keys: readonly Buffer[];
  readonly header: string;
}

/**
 * Proofs that this agent and another know a secret of the cluster, where both peer ids are proven already (by TLS).
 * All secrets' proofs travel at once, so that a rotation costs no request. Cached: a request costs no HMAC.
 */
export class Membership {
  readonly #self: PeerId;
  readonly #secrets: ClusterSecrets;
  readonly #context: Uint8Array;
  readonly #own = new LRUCache<PeerId, Known>({ max: MAX_PEERS });
  readonly #others = new LRUCache<PeerId, Known>({ max: MAX_PEERS });

  /** @param context tells proofs of one kind of connection from those of another. */
  constructor(self: PeerId, secrets: ClusterSecrets, context: Uint8Array = Buffer.from('tls')) {
    this.#self = self;
    this.#secrets = secrets;
    this.#context = context;
  }

  /** The header's value that proves to `verifier` that this agent is a member. */
  async prove(verifier: PeerId): Promise<string> {
    const keys = await this.#secrets.keys(PURPOSE);
    const known = this.#own.get(verifier);
    if (known?.keys === keys) return known.header;
    const proofs = await this.#secrets.proofs(PURPOSE, this.#self, verifier, this.#context);
    const header = encodeProofs(proofs);
    this.#own.set(verifier, { keys, header });
    return header;
  }

  /** Does the header prove that `prover` is a member? Never throws for what it was sent. */
  async accepts(prover: PeerId, header: string | undefined): Promise<boolean> {
    if (this.#secrets.insecure) return true;
    const keys = await this.#secrets.keys(PURPOSE);
    const known = this.#others.get(prover);
    if (known?.keys === keys && known.header === header) return true;
    for (const proof of decodeProofs(header)) {
      const secret = await this.#secrets.verify(PURPOSE, prover, this.#self, proof, this.#context);
      if (secret === undefined) continue;
      if (header !== undefined) this.#others.set(prover, { keys, header });
      return true;
    }
    return false;
  }
}

export function encodeProofs(proofs: readonly Uint8Array[]): string {
  return proofs.map((proof) => Buffer.from(proof).toString('base64url')).join(',');
}

export function decodeProofs(header: string | undefined): Buffer[] {
  if (header === undefined || header.length > MAX_SECRETS * (PROOF_CHARS + 1)) return [];
  const texts = header.split(',');
  // Each costs an HMAC for each secret, whoever sends it.
  if (texts.some((text) => text.length !== PROOF_CHARS)) return [];
  return texts.map((text) => Buffer.from(text, 'base64url'));
}
