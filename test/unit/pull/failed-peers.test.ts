import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FailedPeers } from '../../../src/pull/failed-peers.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

test('the last word of a peer counts, for half a minute', () => {
  const failed = new FailedPeers();
  failed.note('a', 'slow');
  failed.note('a', 'broken');
  vi.advanceTimersByTime(29_999);
  expect(failed.list()).toEqual([{ peerId: 'a', why: 'broken' }]);
  vi.advanceTimersByTime(1);
  expect(failed.list()).toEqual([]);
});

test('to be slow is less than to have said that it is strained, for as long as that counts', () => {
  const failed = new FailedPeers();
  failed.note('a', 'strained');
  failed.note('a', 'slow');
  expect(failed.list()).toEqual([{ peerId: 'a', why: 'strained' }]);
  vi.advanceTimersByTime(30_000);
  failed.note('a', 'slow');
  expect(failed.list()).toEqual([{ peerId: 'a', why: 'slow' }]);
});
