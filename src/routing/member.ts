/** A libp2p peer id as text (`12D3KooW…`). Of an Ed25519 key, so it contains the public key. */
export type PeerId = string;

/**
 * The wire version that this code speaks. It talks to WIRE_VERSION - 1 as well. Nothing speaks 3: agents of version 2,
 * which were never released, send pieces of another size, and are to be refused at the door, not blamed for it.
 * Nor was a 4 released that does not know what `strained` is.
 */
export const WIRE_VERSION = 4;

/** Of two agents; the same on both sides: whoever is one version older, or newer, is talked to. */
export function canTalk(one: number, other: number): boolean {
  return Math.abs(one - other) <= 1;
}

/** One agent of the cluster, as it describes itself. Some 150 bytes, signed by its identity (see SignedMember). */
export interface Member {
  readonly peerId: PeerId;
  /** Counts this identity's starts: what an earlier one was granted or held in memory is void. */
  readonly incarnation: number;
  /** Counts the entries of one incarnation: the highest is right. */
  readonly sequence: number;
  readonly nodeName: string;
  /** Empty where it is not known. */
  readonly zone: string;
  /** `host:port` of its data plane (`peer.announce`). */
  readonly dataAddress: string;
  /** Multiaddresses of its libp2p listener. */
  readonly p2pAddresses: readonly string[];
  readonly wireVersion: number;
  /** It is going down in order, and has handed over what it kept. */
  readonly leaving: boolean;
}

/** As it travels and is stored: the exact bytes that were signed, so that later versions may add fields. */
export interface SignedMember {
  /** JSON of a Member. */
  readonly entry: string;
  /** Ed25519 over `windlass-member/1\0` + entry, by the key within `peerId`; base64url. */
  readonly signature: string;
}
