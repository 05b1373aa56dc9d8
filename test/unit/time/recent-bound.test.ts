import { expect, test } from 'vitest';
import { RecentBound } from '../../../src/time/recent-bound.ts';

test('nothing is known: the most', () => {
  expect(new RecentBound(2_000).ms).toBe(2_000);
});

test('three times the slowest of the last 64, from one second to the most', () => {
  const bound = new RecentBound(2_000);
  bound.note(10);
  expect(bound.ms).toBe(1_000);
  bound.note(500);
  expect(bound.ms).toBe(1_500);
  bound.note(900);
  expect(bound.ms).toBe(2_000);
  for (let i = 0; i < 62; i += 1) bound.note(10);
  expect(bound.ms).toBe(2_000);
  for (let i = 0; i < 2; i += 1) bound.note(10);
  expect(bound.ms).toBe(1_000);
});

test('what is set to less than a second is what is set', () => {
  const bound = new RecentBound(300);
  bound.note(10);
  expect(bound.ms).toBe(300);
});
