import { generateKeyPairSync, sign } from 'node:crypto';
import { peerIdOfBytes } from '../../src/routing/identity-peer-id.ts';
import { type SignedMember, WIRE_VERSION } from '../../src/routing/member.ts';
import { signMember } from '../../src/routing/member-entry.ts';

/** Signed as they should be, by keys of their own; and nobody is there. */
export function madeUpMembers(count: number): SignedMember[] {
  return Array.from({ length: count }, (_, i) => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const peerId = peerIdOfBytes(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
    const member = {
      peerId,
      incarnation: 1,
      sequence: 1,
      nodeName: `made-up-${i}`,
      zone: '',
      dataAddress: '127.0.0.1:1',
      p2pAddresses: ['/ip4/127.0.0.1/tcp/1'],
      wireVersion: WIRE_VERSION,
      leaving: false,
    };
    return signMember(member, (bytes) => sign(null, bytes, privateKey)).signed;
  });
}
