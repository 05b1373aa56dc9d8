import { expect, test } from 'vitest';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { SharedPieces } from '../../../src/pull/shared-pieces.ts';

const INGEST = {};

function reading(value: number, reads: number[] = []) {
  return async (target: Uint8Array) => {
    reads.push(value);
    target.fill(value);
  };
}

test('children of one ingest at the same piece share it, and its memory is used again when all have let go', async () => {
  const pieces = new SharedPieces();
  const reads: number[] = [];
  const [one, two] = await Promise.all([
    pieces.take(INGEST, 0, PIECE_BYTES, reading(1, reads)),
    pieces.take(INGEST, 0, PIECE_BYTES, reading(2, reads)),
  ]);
  expect(reads).toEqual([1]);
  expect(two.bytes).toBe(one.bytes);
  one.release();
  const next = await pieces.take(INGEST, 1, PIECE_BYTES, reading(3));
  expect(next.bytes).not.toBe(one.bytes);
  expect(two.bytes.every((byte) => byte === 1)).toBe(true);
  two.release();
  const last = await pieces.take(INGEST, 2, PIECE_BYTES, reading(4));
  expect(last.bytes).toBe(one.bytes);
});

test('a piece that all have let go is read anew', async () => {
  const pieces = new SharedPieces();
  (await pieces.take(INGEST, 0, 10, reading(1))).release();
  expect((await pieces.take(INGEST, 0, 10, reading(2))).bytes[0]).toBe(2);
});

test.each([
  ['of another ingest', {}, 10],
  ['of another length', INGEST, 9],
])('a piece %s is not shared', async (_, ingest, length) => {
  const pieces = new SharedPieces();
  await pieces.take(INGEST, 0, 10, reading(1));
  const other = await pieces.take(ingest, 0, length, reading(2));
  expect([...other.bytes]).toEqual(Array.from({ length }, () => 2));
});

test('without an ingest nobody shares', async () => {
  const pieces = new SharedPieces();
  await pieces.take(undefined, 0, 10, reading(1));
  expect((await pieces.take(undefined, 0, 10, reading(2))).bytes[0]).toBe(2);
});

test('one whose reader fails fails alone: the others read for themselves', async () => {
  const pieces = new SharedPieces();
  const broken = Promise.withResolvers<void>();
  const failing = pieces.take(INGEST, 0, 10, () => broken.promise);
  const other = pieces.take(INGEST, 0, 10, reading(2));
  broken.reject(new Error('its file was closed'));
  await expect(failing).rejects.toThrow('its file was closed');
  expect((await other).bytes[0]).toBe(2);
  expect((await pieces.take(INGEST, 0, 10, reading(3))).bytes[0]).toBe(3);
});
