import type { PeerId } from '../routing/member.ts';
import type { PeerConnection } from './peer-connection.ts';
import type { ResponseHead } from './response-parser.ts';

/** A connection whose other end is known. One for TLS, one for networks that are encrypted below. */
export interface PeerLink {
  readonly connection: PeerConnection;
  readonly peerId: PeerId;
  /** Header lines that prove who asks: each ends with CRLF. */
  sign(method: string, path: string, body: Uint8Array | undefined): Promise<string>;
  /** Is the answer that of a member? @param body undefined: of a stream, which has no seal. */
  accepts(head: ResponseHead, body: Uint8Array | undefined): Promise<boolean>;
}

/** Makes links. */
export interface PeerDialer {
  /**
   * @param expected undefined: whoever is there, if it proves to be a member before anything is said to it.
   * @throws PEER_GONE (another one answers, too), PEER_DENIED, PEER_NONSENSE; the signal's reason.
   */
  dial(
    address: { readonly host: string; readonly port: number },
    expected: PeerId | undefined,
    signal: AbortSignal,
  ): Promise<PeerLink>;
}
