import { expect, test } from 'vitest';
import { BufferPool } from '../../../src/mirror/buffer-pool.ts';

const newPool = () => new BufferPool({ bufferBytes: 100, smallBytes: 10, max: 4 });

test('past its number, buffers are small ones, until others come back', () => {
  const pool = newPool();
  const taken = Array.from({ length: 6 }, () => pool.take());
  expect(taken.map(({ length }) => length)).toEqual([100, 100, 100, 100, 10, 10]);
  for (const buffer of taken) pool.give(buffer);
  expect(pool.take().length).toBe(100);
});

test('it makes no more buffers than were in use at once', () => {
  const pool = newPool();
  const first = Array.from({ length: 4 }, () => pool.take());
  for (const buffer of first) pool.give(buffer);
  const again = Array.from({ length: 4 }, () => pool.take());
  expect(new Set([...first, ...again]).size).toBe(4);
});

test('it is crowded while half of its buffers are out', () => {
  const pool = newPool();
  const first = pool.take();
  expect(pool.crowded).toBe(false);
  pool.take();
  expect(pool.crowded).toBe(true);
  pool.give(first);
  expect(pool.crowded).toBe(false);
});
