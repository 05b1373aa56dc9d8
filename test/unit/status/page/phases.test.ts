import { expect, test } from 'vitest';
import { describeTimes, mostOf, sharesOf, totalOf } from '../../../../src/status/page/phases.js';

const TIMES = { claim: 0, firstByte: 100, transfer: 890, verify: 0.001, commit: 10 };

test('a bar is full, its parts in order, and none that took time too thin to be seen', () => {
  const shares = sharesOf(TIMES);
  expect(shares.map(({ phase }) => phase)).toEqual(['firstByte', 'transfer', 'verify', 'commit']);
  expect(shares.reduce((sum, { percent }) => sum + percent, 0)).toBeCloseTo(100, 6);
  for (const { percent } of shares) expect(percent).toBeGreaterThan(0.9);
  expect(shares[1]?.percent).toBeGreaterThan(85);
});

test('what took no time at all has no bar', () => {
  const none = { claim: 0, firstByte: 0, transfer: 0, verify: 0, commit: 0 };
  expect(sharesOf(none)).toEqual([]);
  expect(mostOf(none)).toBe('');
});

test('in words', () => {
  expect(totalOf(TIMES)).toBeCloseTo(1_000, 2);
  expect(mostOf(TIMES)).toBe('transfer 89%');
  expect(describeTimes(TIMES)).toBe('claim 0 ms, first byte 100 ms, transfer 890 ms, verify < 1 ms, commit 10 ms');
});
