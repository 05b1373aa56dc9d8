import type { PeerId } from '../../routing/member.ts';
import { isWhatKeySays } from './inline-bytes.ts';
import type { Claim, ClaimAnswer } from './messages.ts';

/**
 * Can this be the answer to that claim of that peer? What is well formed still may not: bytes that are not the key's,
 * nobody to read from but the peer itself, or who failed it for good. Whoever hears such an answer first must find out:
 * a deputy that passed it on would be taken for the liar.
 */
export function makesSense({ key, failed }: Claim, peerId: PeerId, answer: ClaimAnswer): boolean {
  if (answer.kind === 'bytes') return isWhatKeySays(key, Buffer.from(answer.bytes, 'base64'));
  if (answer.kind !== 'read') return true;
  // Who gave wrong bytes, or has it not, is not to be named again.
  const useless = new Set(
    failed.flatMap((peer) => (peer.why === 'wrong' || peer.why === 'missing' ? peer.peerId : [])),
  );
  return answer.parents.some((parent) => parent.peerId !== peerId && !useless.has(parent.peerId));
}
