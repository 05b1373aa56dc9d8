import { generateKeyPairSync, sign, verify } from 'node:crypto';
import pino from 'pino';
import { expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { PieceCheck } from '../../../src/pull/piece-check.ts';
import { PieceProofs } from '../../../src/pull/piece-proofs.ts';
import { Swarm, type SwarmOptions } from '../../../src/pull/swarm.ts';
import type { Member, PeerId } from '../../../src/routing/member.ts';
import { bytesOf, digestOf } from './scripted-source.ts';

const BYTES = bytesOf(5_000);
const DIGEST = digestOf(BYTES);

/** What a relay passes on from a writer whom this node has not heard of. */
async function setUp(meet: (members: Map<PeerId, Member>, by: PeerId) => void) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key: Pick<SwarmOptions, 'sign' | 'verify'> = {
    sign: (message) => sign(null, message, privateKey),
    verify: (_signer, message, signature) => verify(null, message, publicKey, signature),
  };
  const writer = { peerId: 'writer' } as Member;
  const self = { peerId: 'self' } as Member;
  const proof = await new PieceProofs({ self: writer, get: () => writer }, key).of(DIGEST, 0, BYTES, { vouch: true });
  if (proof === undefined) throw new Error('no proof');
  const members = new Map<PeerId, Member>([['self', self]]);
  const swarm = new Swarm({
    ...key,
    roster: { self, get: (peerId) => members.get(peerId) },
    claims: {} as SwarmOptions['claims'],
    streams: {} as SwarmOptions['streams'],
    meet: async (by) => meet(members, by),
    logger: pino({ level: 'silent' }),
    metrics: new Metrics(),
  });
  const check = new PieceCheck(swarm, DIGEST, 'relay', 0);
  return check.faultOf({ index: 0, bytes: BYTES, written: BYTES.length, proof }, BYTES.length);
}

test('a signer whom this node does not know yet is asked about before anybody is blamed', async () => {
  const asked: PeerId[] = [];
  const fault = await setUp((members, by) => {
    asked.push(by);
    members.set('writer', { peerId: 'writer' } as Member);
  });
  expect(fault).toBeUndefined();
  expect(asked).toEqual(['relay']);
});

test('a signer whom the relay cannot name either, or who cannot be asked about, makes the piece wrong', async () => {
  expect(await setUp(() => {})).toMatchObject({ kind: 'wrong' });
  const unreachable = await setUp(() => {
    throw new Error('gone');
  });
  expect(unreachable).toMatchObject({ kind: 'wrong' });
});
