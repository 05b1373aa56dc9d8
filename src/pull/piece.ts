import type { PeerId } from '../routing/member.ts';

/**
 * Blobs travel between agents in pieces of this size (the last may be shorter), each hashed by itself. A relay passes on
 * whole pieces, so each hop of a chain waits for one: half a second for 1 MiB, where three layers share 50 Mbit/s
 * (test/bench/README.md).
 */
export const PIECE_BYTES = 256 * 1024;
/** Of BLAKE3. */
export const HASH_BYTES = 32;

/**
 * What vouches for a piece: the hash, signed by the agent that got it from upstream (or holds the verified blob).
 * Relays pass it on as it came, so a relay that changes bytes is found out by its child.
 */
export interface PieceProof {
  /** BLAKE3 of the piece, 32 bytes. */
  readonly hash: Uint8Array;
  readonly signer: PeerId;
  /** Ed25519 by `signer` over `windlass-piece/2\0<digest>\0<index>\0` + hash. 64 bytes. */
  readonly signature: Uint8Array;
}

export interface Piece {
  readonly index: number;
  /** The whole piece. Not to be used after the next one was asked for. */
  readonly bytes: Uint8Array;
  readonly proof: PieceProof;
  /** How much of the blob the sender has written: more than the reader has means that it lags. */
  readonly written: number;
}
