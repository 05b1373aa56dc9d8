import { blake3 } from '@napi-rs/blake-hash';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { Roster } from '../routing/roster.ts';
import { HASH_BYTES, type PieceProof } from './piece.ts';

/** Some 250 bytes each (see Remembered): at most 12 MiB of proofs of blobs that are whole, of 12 GiB of those. */
const MAX_FINISHED_PIECES = 50_000;

/** Signatures by the identities of agents: Ed25519. */
export interface PieceKey {
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
  verify(signer: PeerId, message: Uint8Array, signature: Uint8Array): boolean | Promise<boolean>;
}

/** Two typed arrays and a name each would be 700 bytes; a blob of 10 GiB has 40,000 pieces. */
interface Remembered {
  /** Hash and signature, a byte a character. */
  readonly packed: string;
  /** The roster's own string, where it has one. */
  readonly signer: PeerId;
  /** False where some of the piece's bytes were here before the proof came. */
  readonly checked: boolean;
}

/**
 * What vouches for the pieces of blobs that are here or on their way in: as it came from peers, else made when the
 * first child asks. Of running ingests all are kept, of finished ones the lately used.
 */
export class PieceProofs {
  readonly #roster: Pick<Roster, 'self' | 'get'>;
  readonly #key: PieceKey;
  /** A manifest may be asked for as a blob meanwhile: then there are two. */
  readonly #running = new Map<Digest, { readonly pieces: Map<number, Remembered>; ingests: number }>();
  readonly #finished = new LRUCache<Digest, Map<number, Remembered>>({
    maxSize: MAX_FINISHED_PIECES,
    sizeCalculation: (pieces) => pieces.size + 1,
  });

  constructor(roster: Pick<Roster, 'self' | 'get'>, key: PieceKey) {
    this.#roster = roster;
    this.#key = key;
  }

  /** An ingest begins. What is remembered was of an earlier one, whose bytes it may or may not take over. */
  begin(digest: Digest): void {
    const running = this.#running.get(digest);
    if (running !== undefined) {
      running.ingests += 1;
      return;
    }
    const pieces = new Map<number, Remembered>();
    for (const [index, one] of this.#finished.get(digest) ?? []) pieces.set(index, { ...one, checked: false });
    this.#finished.delete(digest);
    this.#running.set(digest, { pieces, ingests: 1 });
  }

  /** The ingest ended; its proofs are worth keeping unless its bytes were wrong. */
  end(digest: Digest, how: 'committed' | 'passed' | 'failed' | 'wrong'): void {
    const running = this.#running.get(digest);
    if (running === undefined) return;
    running.ingests -= 1;
    if (running.ingests > 0) return;
    this.#running.delete(digest);
    if (how !== 'wrong' && running.pieces.size > 0) this.#finished.set(digest, running.pieces);
  }

  forget(digest: Digest): void {
    this.#running.delete(digest);
    this.#finished.delete(digest);
  }

  /** Who vouched for it; undefined where only this node could do so. */
  signerOf(digest: Digest, index: number): PeerId | undefined {
    return this.#pieces(digest)?.get(index)?.signer;
  }

  /**
   * As it came from a peer, checked by `isRight`.
   * @param whole false if the first bytes of the piece were here before, from elsewhere.
   */
  remember(digest: Digest, index: number, proof: PieceProof, whole: boolean): void {
    this.#running.get(digest)?.pieces.set(index, this.#packed(proof, whole));
  }

  /**
   * What to send along with a piece.
   * @param options.vouch this node may vouch for it itself.
   * @returns undefined if nobody else did, or not for these bytes.
   */
  async of(
    digest: Digest,
    index: number,
    bytes: Uint8Array,
    { vouch }: { readonly vouch: boolean },
  ): Promise<PieceProof | undefined> {
    const known = this.#pieces(digest)?.get(index);
    // A signature is good for as long as its signer is remembered.
    const good = known !== undefined && this.#roster.get(known.signer) !== undefined;
    if (good && known.checked) return proofOf(known);
    const hash = blake3(bytes);
    if (good && equal(hash, proofOf(known).hash)) {
      this.#set(digest, index, { ...known, checked: true });
      return proofOf(known);
    }
    if (!vouch) return undefined;
    const signature = await this.#key.sign(messageOf(digest, index, hash));
    const proof: PieceProof = { hash, signer: this.#roster.self.peerId, signature };
    this.#set(digest, index, this.#packed(proof, true));
    return proof;
  }

  /** Do the bytes have the hash, and does its signer vouch for it? Says nothing of whether the signer may. */
  async isRight(digest: Digest, index: number, bytes: Uint8Array, proof: PieceProof): Promise<boolean> {
    if (!equal(blake3(bytes), proof.hash)) return false;
    return this.#key.verify(proof.signer, messageOf(digest, index, proof.hash), proof.signature);
  }

  #packed({ hash, signature, signer }: PieceProof, checked: boolean): Remembered {
    const packed = Buffer.concat([hash, signature]).toString('latin1');
    return { packed, signer: this.#roster.get(signer)?.peerId ?? signer, checked };
  }

  #pieces(digest: Digest): Map<number, Remembered> | undefined {
    return this.#running.get(digest)?.pieces ?? this.#finished.get(digest);
  }

  #set(digest: Digest, index: number, remembered: Remembered): void {
    const running = this.#running.get(digest);
    if (running !== undefined) {
      running.pieces.set(index, remembered);
      return;
    }
    const pieces = this.#finished.get(digest) ?? new Map<number, Remembered>();
    pieces.set(index, remembered);
    // Taken out first: what is the same object again is not measured again.
    this.#finished.delete(digest);
    this.#finished.set(digest, pieces);
  }
}

function proofOf({ packed, signer }: Remembered): PieceProof {
  const bytes = Buffer.from(packed, 'latin1');
  return { hash: bytes.subarray(0, HASH_BYTES), signature: bytes.subarray(HASH_BYTES), signer };
}

function messageOf(digest: Digest, index: number, hash: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`windlass-piece/2\0${digest}\0${index}\0`), hash]);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
