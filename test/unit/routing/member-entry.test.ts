import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { peerIdOfKey } from '../../../src/routing/identity-peer-id.ts';
import { verifySignature } from '../../../src/routing/identity-signature.ts';
import { type Member, WIRE_VERSION } from '../../../src/routing/member.ts';
import { fitMember, isGenuine, isNewer, readMember, signMember } from '../../../src/routing/member-entry.ts';
import { describeAgent } from './roster-simulation.ts';

function identity() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { peerId: peerIdOfKey(publicKey), sign: (bytes: Uint8Array) => sign(null, bytes, privateKey) };
}

const alice = identity();
const mallory = identity();

const member = (change: Partial<Member> = {}): Member => ({
  ...describeAgent(1),
  peerId: alice.peerId,
  sequence: 0,
  wireVersion: WIRE_VERSION,
  leaving: false,
  ...change,
});
const entryOf = (change: Partial<Member>, by = alice) => signMember(member(change), by.sign);
const accepted = (json: unknown) => {
  const signed = signMember(json as Member, alice.sign).signed;
  const entry = readMember(signed);
  return entry !== undefined && isGenuine(entry, verifySignature);
};

describe('a signed entry', () => {
  test('is read as it was written, and is genuine', () => {
    const read = readMember(signMember(member(), alice.sign).signed);
    expect(read?.member).toEqual(member());
    expect(accepted(member())).toBe(true);
  });

  test('is that of the key within its peer id, or nothing', () => {
    const { signed } = signMember(member(), mallory.sign);
    const read = readMember(signed);
    expect(read?.member.peerId).toBe(alice.peerId);
    expect(read && isGenuine(read, verifySignature)).toBe(false);
  });

  test.each([['entry', '}', ',"zone":"zone-x"}'] as const, ['signature', /^./, '_'] as const])(
    'is not genuine once its %s was changed',
    (part, from, to) => {
      const { signed } = signMember(member(), alice.sign);
      const read = readMember({
        ...signed,
        [part]: signed[part].replace(from, to === '_' ? otherThan(signed[part]) : to),
      });
      expect(read).toBeDefined();
      expect(read && isGenuine(read, verifySignature)).toBe(false);
    },
  );

  test('may have fields of a later version: signed, and left out', () => {
    const signed = signMember({ ...member(), rack: 'r7' } as Member, alice.sign).signed;
    const read = readMember(signed);
    expect(signed.entry).toContain('r7');
    expect(read && isGenuine(read, verifySignature)).toBe(true);
    expect(read?.member).toEqual(member());
  });

  test('signed for some other purpose is not an entry', () => {
    const entry = JSON.stringify(member());
    const signature = Buffer.from(alice.sign(Buffer.from(entry))).toString('base64url');
    const read = readMember({ entry, signature });
    expect(read && isGenuine(read, verifySignature)).toBe(false);
  });

  test.each([
    ['a data address without a port', { dataAddress: '10.0.0.1' }],
    ['a data address of port 0', { dataAddress: '10.0.0.1:0' }],
    ['a data address with a path', { dataAddress: '10.0.0.1:5051/../x' }],
    ['a zone with a line break', { zone: 'a\nb' }],
    ['a zone of 300 characters', { zone: 'z'.repeat(300) }],
    ['a node name with an escape', { nodeName: 'node\u001b[2J' }],
    ['thirteen p2p addresses', { p2pAddresses: Array.from({ length: 13 }, () => '/ip4/10.0.0.1/tcp/1') }],
    ['a p2p address that is none', { p2pAddresses: ['10.0.0.1:5052'] }],
    ['a sequence below 0', { sequence: -1 }],
    ['a sequence that is not exact', { sequence: 2 ** 60 }],
    ['no peer id', { peerId: '' }],
    ['more text than an entry has', { padding: 'x'.repeat(5_000) }],
  ])('is refused with %s', (_, change) => {
    expect(accepted({ ...member(), ...change })).toBe(false);
  });

  test.each(['', '{', 'null', '[]', '"x"', '{"peerId":{}}'])('is refused where it is %j', (entry) => {
    expect(readMember({ entry, signature: '' })).toBeUndefined();
  });

  test.each(['[fd00::1]:5051', 'node-1.example:5051'])('may name %s', (dataAddress) => {
    expect(accepted(member({ dataAddress }))).toBe(true);
  });
});

test('whatever an agent was told to say of itself is made to fit, so that others take it', () => {
  const long = '/ip4/10.0.0.1/tcp/1';
  const fitted = fitMember(
    member({
      nodeName: `Büro 7\n${'x'.repeat(300)}`,
      zone: 'z'.repeat(300),
      p2pAddresses: [`/${'x'.repeat(300)}`, ...Array.from({ length: 40 }, () => long)],
    }),
  );
  expect(accepted(fitted)).toBe(true);
  expect(fitted.nodeName).toMatch(/^Büro 7x+$/);
  expect(fitted.p2pAddresses[0]).toBe(long);
  expect(fitMember(member())).toEqual(member());
});

describe('of two entries', () => {
  test.each([
    ['the higher incarnation', { incarnation: 2 }, { incarnation: 1, sequence: 9 }],
    ['the higher sequence', { sequence: 4 }, { sequence: 3, leaving: true }],
    ['the one that leaves', { leaving: true }, {}],
  ])('%s is the newer one', (_, one, other) => {
    expect(isNewer(entryOf(one), entryOf(other))).toBe(true);
    expect(isNewer(entryOf(other), entryOf(one))).toBe(false);
  });

  test('of one sequence everybody takes the same one, and of the same one neither', () => {
    const [one, other] = [entryOf({ zone: 'a' }), entryOf({ zone: 'b' })];
    expect(isNewer(one, other)).not.toBe(isNewer(other, one));
    expect(isNewer(one, entryOf({ zone: 'a' }))).toBe(false);
  });
});

/** Another first character of a signature. */
function otherThan(text: string): string {
  return text.startsWith('A') ? 'B' : 'A';
}
