import { verify } from 'node:crypto';
import { keyOfPeerId } from './identity-peer-id.ts';
import type { PeerId } from './member.ts';

/** Whether the identity `peerId` signed these bytes (Ed25519). False for nonsense of any kind; never throws. */
export function verifySignature(peerId: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  const key = keyOfPeerId(peerId);
  if (key === undefined) return false;
  try {
    return verify(null, bytes, key, signature);
  } catch {
    return false;
  }
}
