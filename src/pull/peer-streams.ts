import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { Parent } from './claims/messages.ts';
import type { Piece } from './piece.ts';

export type PeerEvent =
  | { readonly type: 'piece'; readonly piece: Piece }
  /** Nothing to send now, because it waits for its own source. Comes at least twice a second while that lasts. */
  | { readonly type: 'waiting'; readonly written: number }
  /** From the writer down to the sender: whoever finds itself in it leaves (a cycle). */
  | { readonly type: 'path'; readonly path: readonly PeerId[] }
  /** Another child was given this seat (eviction): ask the keeper again. */
  | { readonly type: 'moved' }
  /** The sender gets more than its uplink carries: another parent would be better, if there is one. It goes on. */
  | { readonly type: 'strained' };

export interface PeerStream {
  readonly sizeBytes: number | undefined;
  readonly path: readonly PeerId[];
  /**
   * Bytes of pieces that came so far, those of the piece under way included: a slow parent shows long before its first
   * piece is whole. Undefined where that is not known.
   */
  readonly receivedBytes?: number | undefined;
  /**
   * Pieces from the one that contains the offset asked for, in order, framing checked, hashes not. Ends when the blob
   * has ended. Throws PEER_GONE (broken), PEER_SILENT (nothing at all for its bound), PEER_NONSENSE, and
   * PEER_FAILED with the sender's own error as message where its ingest failed. Left by `return()`/break.
   */
  readonly events: AsyncIterable<PeerEvent>;
}

/** Blobs from other agents. Implemented in peer/. */
export interface PeerStreams {
  /**
   * GET /windlass/v1/blobs/<digest> at a parent. Resolves with its first bytes of answer.
   * @param options.replaces the peer whose seat is taken.
   * @throws PEER_GONE, PEER_SILENT, PEER_DENIED, PEER_BUSY (full), PEER_MISSING, PEER_NONSENSE.
   */
  open(
    parent: Parent,
    digest: Digest,
    options: { readonly offset: number; readonly replaces?: PeerId | undefined; readonly signal: AbortSignal },
  ): Promise<PeerStream>;
}

/** What this agent offers to others; the peer server asks for it. Implemented in pull/. */
export interface PeerOffers {
  /**
   * Pieces of a blob that is held, or on its way in here, from the one that contains `offset`; undefined where it is
   * neither (404). Never starts a fetch. The iterator waits for what is to come, and throws what the ingest failed with.
   */
  offer(
    digest: Digest,
    options: {
      readonly offset: number;
      readonly to: PeerId;
      readonly replaces: PeerId | undefined;
      readonly signal: AbortSignal;
    },
  ): Promise<PeerOffer | undefined>;
}

export interface PeerOffer {
  readonly sizeBytes: number | undefined;
  readonly path: readonly PeerId[];
  readonly events: AsyncIterable<PeerEvent>;
}
