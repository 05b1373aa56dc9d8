import { generateKeyPairSync, type KeyPairKeyObjectResult, randomBytes, sign, verify } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { PieceProofs } from '../../../src/pull/piece-proofs.ts';
import type { Member, PeerId } from '../../../src/routing/member.ts';
import { bytesOf, digestOf } from './scripted-source.ts';

const BYTES = bytesOf(5_000);
const DIGEST = digestOf(BYTES);
const OWN = { vouch: true };
const RELAY = { vouch: false };

function setUp() {
  const members = new Map<PeerId, Member>();
  const keys = new Map<PeerId, KeyPairKeyObjectResult>();
  const nodeOf = (peerId: PeerId) => {
    const key = generateKeyPairSync('ed25519');
    keys.set(peerId, key);
    const member = { peerId } as Member;
    members.set(peerId, member);
    let signed = 0;
    const proofs = new PieceProofs(
      { self: member, get: (id) => members.get(id) },
      {
        sign: (message) => {
          signed += 1;
          return sign(null, message, key.privateKey);
        },
        verify: (signer, message, signature) => {
          const publicKey = keys.get(signer)?.publicKey;
          return publicKey !== undefined && verify(null, message, publicKey, signature);
        },
      },
    );
    return { proofs, signed: () => signed };
  };
  return { members, a: nodeOf('peer-a'), b: nodeOf('peer-b') };
}

test('a proof holds for these bytes at this place of this blob, by this signer', async () => {
  const { a, b } = setUp();
  const proof = await a.proofs.of(DIGEST, 3, BYTES, OWN);
  if (proof === undefined) throw new Error('none');
  expect(proof.signer).toBe('peer-a');
  expect(await b.proofs.isRight(DIGEST, 3, BYTES, proof)).toBe(true);
  expect(await b.proofs.isRight(DIGEST, 2, BYTES, proof)).toBe(false);
  expect(await b.proofs.isRight(digestOf(Buffer.from('other')), 3, BYTES, proof)).toBe(false);
  expect(await b.proofs.isRight(DIGEST, 3, BYTES.subarray(1), proof)).toBe(false);
  expect(await b.proofs.isRight(DIGEST, 3, BYTES, { ...proof, signer: 'peer-b' })).toBe(false);
});

test('is made once, and passed on as it came for as long as its signer is known', async () => {
  const { a, b, members } = setUp();
  const proof = await a.proofs.of(DIGEST, 0, BYTES, OWN);
  if (proof === undefined) throw new Error('none');
  expect(await a.proofs.of(DIGEST, 0, BYTES, OWN)).toEqual(proof);
  expect(a.signed()).toBe(1);
  b.proofs.begin(DIGEST);
  b.proofs.remember(DIGEST, 0, proof, true);
  expect(await b.proofs.of(DIGEST, 0, BYTES, OWN)).toEqual(proof);
  b.proofs.end(DIGEST, 'committed');
  expect(await b.proofs.of(DIGEST, 0, BYTES, OWN)).toEqual(proof);
  members.delete('peer-a');
  expect((await b.proofs.of(DIGEST, 0, BYTES, OWN))?.signer).toBe('peer-b');
});

test('of an ingest whose bytes were wrong nothing is kept; else the next one begins with it, unchecked', async () => {
  const { a } = setUp();
  a.proofs.begin(DIGEST);
  await a.proofs.of(DIGEST, 0, BYTES, OWN);
  a.proofs.end(DIGEST, 'wrong');
  expect(a.proofs.signerOf(DIGEST, 0)).toBeUndefined();
  a.proofs.begin(DIGEST);
  await a.proofs.of(DIGEST, 0, BYTES, OWN);
  a.proofs.end(DIGEST, 'committed');
  expect(a.proofs.signerOf(DIGEST, 0)).toBeDefined();
  a.proofs.begin(DIGEST);
  expect(await a.proofs.of(DIGEST, 0, bytesOf(5_000, 2), RELAY)).toBeUndefined();
  expect((await a.proofs.of(DIGEST, 0, BYTES, RELAY))?.signer).toBe('peer-a');
});

test('a piece some of which was here before is looked at before it is passed on', async () => {
  const { a, b } = setUp();
  const proof = await a.proofs.of(DIGEST, 0, BYTES, OWN);
  if (proof === undefined) throw new Error('none');
  b.proofs.begin(DIGEST);
  b.proofs.remember(DIGEST, 0, proof, false);
  expect(await b.proofs.of(DIGEST, 0, bytesOf(5_000, 2), RELAY)).toBeUndefined();
  expect(await b.proofs.of(DIGEST, 1, BYTES, RELAY)).toBeUndefined();
  expect(await b.proofs.of(DIGEST, 0, BYTES, RELAY)).toEqual(proof);
});

test('memory is bounded: what was used least is forgotten', async () => {
  const { a } = setUp();
  const first = digestOf(Buffer.from('first'));
  await a.proofs.of(first, 0, BYTES, OWN);
  const proof = await a.proofs.of(DIGEST, 0, BYTES, OWN);
  if (proof === undefined) throw new Error('none');
  for (let blob = 0; blob < 30; blob++) {
    const digest = digestOf(Buffer.from(`blob ${blob}`));
    a.proofs.begin(digest);
    for (let index = 0; index < 2_000; index++) a.proofs.remember(digest, index, proof, true);
    a.proofs.end(digest, 'committed');
  }
  expect(a.proofs.signerOf(first, 0)).toBeUndefined();
  expect(a.proofs.signerOf(digestOf(Buffer.from('blob 29')), 0)).toBeDefined();
});

test('a proof takes a third of what it took as two arrays and a name: a blob of 10 GiB has 40,000', () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const used = () => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const { b } = setUp();
  b.proofs.begin(DIGEST);
  const before = used();
  for (let index = 0; index < 40_000; index += 1) {
    const proof = { hash: randomBytes(32), signature: randomBytes(64), signer: Buffer.from('peer-a').toString() };
    b.proofs.remember(DIGEST, index, proof, true);
  }
  expect((used() - before) / 40_000).toBeLessThan(350);
  expect(b.proofs.signerOf(DIGEST, 39_999)).toBe('peer-a');
});
