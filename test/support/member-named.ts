import { type Member, WIRE_VERSION } from '../../src/routing/member.ts';

/** One that nobody calls by its addresses. */
export function memberNamed(peerId: string): Member {
  return {
    peerId,
    incarnation: 1,
    sequence: 1,
    nodeName: peerId,
    zone: '',
    dataAddress: 'x:1',
    p2pAddresses: [],
    wireVersion: WIRE_VERSION,
    leaving: false,
  };
}
