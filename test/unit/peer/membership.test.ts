import { expect, it } from 'vitest';
import { decodeProofs, encodeProofs } from '../../../src/peer/membership.ts';

const proofs = Array.from({ length: 8 }, (_, index) => Buffer.alloc(32, index));

it('reads as many proofs as there may be secrets', () => {
  expect(decodeProofs(encodeProofs(proofs))).toEqual(proofs);
  expect(decodeProofs(undefined)).toEqual([]);
  expect(decodeProofs(encodeProofs([...proofs, Buffer.alloc(32)]))).toEqual([]);
});

it.each([
  ['none between many commas', ','.repeat(350)],
  ['short ones', 'AA,'.repeat(100)],
  ['a short one among others', `${encodeProofs(proofs.slice(0, 2))},AAAA`],
])('reads nothing of %s: each would cost an HMAC', (_, header) => {
  expect(decodeProofs(header)).toEqual([]);
});
