import { createPublicKey, type KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { base58btc } from 'multiformats/bases/base58';
import type { PeerId } from './member.ts';

/** Multihash "identity" of 36 bytes; protobuf: key type 1 (Ed25519), 32 bytes of data. */
const PEER_ID_PREFIX = Buffer.from('002408011220', 'hex');
/** SubjectPublicKeyInfo of an Ed25519 key, up to its 32 bytes. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const KEY_BYTES = 32;
/** The text of such a peer id always has 52 characters. */
const TEXT_LENGTH = 52;

/** Importing a key costs about as much as checking a signature. */
const keys = new LRUCache<PeerId, KeyObject>({ max: 8_192 });

/** @param publicKey an Ed25519 one. */
export function peerIdOfKey(publicKey: KeyObject): PeerId {
  return peerIdOfBytes(publicKey.export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length));
}

/** @param raw the 32 bytes of an Ed25519 public key. */
export function peerIdOfBytes(raw: Uint8Array): PeerId {
  return base58btc.baseEncode(Buffer.concat([PEER_ID_PREFIX, raw]));
}

/** The 32 bytes of the key. @returns undefined if the text is not the peer id of an Ed25519 key. */
export function bytesOfPeerId(peerId: PeerId): Uint8Array | undefined {
  // Bounded before it is decoded, which is quadratic.
  if (peerId.length !== TEXT_LENGTH) return undefined;
  try {
    const bytes = Buffer.from(base58btc.baseDecode(peerId));
    const raw = bytes.subarray(PEER_ID_PREFIX.length);
    const isOne = bytes.subarray(0, PEER_ID_PREFIX.length).equals(PEER_ID_PREFIX) && raw.length === KEY_BYTES;
    return isOne ? raw : undefined;
  } catch {
    return undefined;
  }
}

/** The key that a peer id is made of. @returns undefined if the text is not the peer id of an Ed25519 key. */
export function keyOfPeerId(peerId: PeerId): KeyObject | undefined {
  const known = keys.get(peerId);
  if (known !== undefined) return known;
  const raw = bytesOfPeerId(peerId);
  if (raw === undefined) return undefined;
  try {
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
    keys.set(peerId, key);
    return key;
  } catch {
    return undefined;
  }
}
