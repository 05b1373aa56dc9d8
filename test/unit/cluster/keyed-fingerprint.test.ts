import { expect, it } from 'vitest';
import { keyedFingerprint } from '../../../src/cluster/keyed-fingerprint.ts';

const KEY = Buffer.from('of the cluster');

it('is the same for the same credentials at all agents with one secret, another for others', () => {
  const one = keyedFingerprint(KEY, 'alice');
  expect(keyedFingerprint(Buffer.from(KEY), 'alice')).toBe(one);
  expect(keyedFingerprint(KEY, 'bob')).not.toBe(one);
});

it('tells nobody who has not the secret whose it is', () => {
  const told = keyedFingerprint(KEY, 'alice');
  expect(keyedFingerprint(Buffer.from('another'), 'alice')).not.toBe(told);
  expect(told).not.toContain('alice');
  // Fits behind `#` in a key of claims.
  expect(told).toMatch(/^[\w-]{22}$/);
});
