import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TokenBucket } from '../../../src/peer/token-bucket.ts';

const { signal } = new AbortController();
const RATE = 1_000_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Takes slices for ever. @returns what it has taken so far. */
function stream(bucket: TokenBucket, sliceBytes: number, until: AbortSignal = signal): () => number {
  let taken = 0;
  void (async () => {
    while (!until.aborted) {
      await bucket.take(sliceBytes, until);
      taken += sliceBytes;
    }
  })();
  return () => taken;
}

it('lets all streams together have the rate, and each the same share', async () => {
  const bucket = new TokenBucket(RATE);
  const slice = bucket.sliceBytes(256 * 1024, 5);
  const taken = Array.from({ length: 5 }, () => stream(bucket, slice));
  await vi.advanceTimersByTimeAsync(20_000);
  const bytes = taken.map((of) => of());
  const all = bytes.reduce((sum, of) => sum + of, 0);
  expect(all).toBeGreaterThan(0.97 * 20 * RATE);
  expect(all).toBeLessThan(1.03 * 20 * RATE);
  expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThanOrEqual(2 * slice);
});

it.each([1, 16, 64])('lets none of %d streams be without a byte for more than half a second or so', async (streams) => {
  const bucket = new TokenBucket(RATE);
  const slice = bucket.sliceBytes(64 * 1024, streams);
  const taken = Array.from({ length: streams }, () => stream(bucket, slice));
  await vi.advanceTimersByTimeAsync(2_000);
  for (let ms = 0; ms < 5_000; ms += 600) {
    const before = taken.map((of) => of());
    await vi.advanceTimersByTimeAsync(600);
    expect(taken.filter((of, index) => of() === before[index])).toEqual([]);
  }
});

it('has no limit where none is set', () => {
  const bucket = new TokenBucket(0);
  expect(bucket.sliceBytes(12_345, 1)).toBe(12_345);
  for (let i = 0; i < 1000; i += 1) expect(bucket.take(1e9, signal)).toBeUndefined();
});

it('lets go of a stream that leaves, and serves those behind it', async () => {
  const bucket = new TokenBucket(RATE);
  bucket.take(RATE, signal);
  const leaving = new AbortController();
  const left = bucket.take(RATE, leaving.signal);
  let served = false;
  void bucket.take(1, signal)?.then(() => {
    served = true;
  });
  leaving.abort();
  await left;
  await vi.advanceTimersByTimeAsync(1_500);
  expect(served).toBe(true);
});

it('saves nothing up for long', async () => {
  const bucket = new TokenBucket(RATE);
  await vi.advanceTimersByTimeAsync(60_000);
  const taken = stream(bucket, 1000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(taken()).toBeLessThan(1.2 * RATE);
});
