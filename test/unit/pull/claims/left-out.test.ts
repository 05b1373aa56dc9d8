import { expect, test } from 'vitest';
import { LeftOut } from '../../../../src/pull/claims/left-out.ts';

test('peers are named for as long as they are left out: half a minute', () => {
  let nowMs = -5_000;
  const leftOut = new LeftOut({ now: () => nowMs, after: () => () => {} });
  leftOut.add('a');
  nowMs += 10_000;
  leftOut.add('b');
  expect(leftOut.list()).toEqual(['a', 'b']);
  nowMs += 20_000;
  expect(leftOut.list()).toEqual(['b']);
  expect([leftOut.has('a'), leftOut.has('b')]).toEqual([false, true]);
  nowMs += 10_000;
  expect(leftOut.list()).toEqual([]);
});
