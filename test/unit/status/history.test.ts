import { expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { History } from '../../../src/status/history.ts';

const MINUTE_MS = 60_000;
const NONE = { store: 0, content: 0, ingest: 0, peer: 0, upstream: 0, none: 0 };

/** So many answers and bytes from the store and from upstream, since the agent started. */
const counted = (store: number, upstream: number) => ({
  requests: { ...NONE, store, upstream, none: 7 },
  bytes: { ...NONE, store: store * 100, upstream: upstream * 100 },
  upstreamBytes: upstream * 100,
  peerReceivedBytes: 0,
});

test('the last hour is what came since an hour ago, not since the agent started', () => {
  const history = new History(new Metrics());
  const startMs = performance.now();
  history.add(counted(100, 100), startMs + 10 * MINUTE_MS);
  history.add(counted(130, 110), startMs + 70 * MINUTE_MS);
  expect(history.lastHour(counted(190, 110), startMs + 100 * MINUTE_MS)).toMatchObject({
    hitRate: 1,
    servedBytes: 6_000,
    upstreamBytes: 0,
    savedBytes: 6_000,
    overMs: 30 * MINUTE_MS,
  });
  expect(history.lastHour(counted(190, 130), startMs + 69 * MINUTE_MS)).toMatchObject({ hitRate: 0.75 });
});

test('an agent that has just started has been asked nothing', () => {
  const history = new History(new Metrics());
  expect(history.lastHour(counted(0, 0), performance.now())).toMatchObject({ hitRate: null, byteHitRate: null });
});

test('what was fetched for others alone saves nothing, which is not less than nothing', () => {
  const history = new History(new Metrics());
  const fetched = { ...counted(1, 0), upstreamBytes: 1_000_000 };
  expect(history.lastHour(fetched, performance.now())).toMatchObject({ savedBytes: 0, byteHitRate: 0 });
});

test('an hour of samples is kept, and only what is new is told again', () => {
  const history = new History(new Metrics());
  const startMs = performance.now();
  for (let i = 1; i <= 1_000; i++) history.add(counted(i, 0), startMs + i * 10_000);
  const nowMs = startMs + 10_000_000;
  const samples = history.since(0, nowMs);
  expect(samples).toHaveLength(361);
  expect(samples[0]?.msAgo).toBe(3_600_000);
  expect(samples.at(-1)).toMatchObject({ msAgo: 0, answers: 1_000, hits: 1_000, servedBytes: 100_000 });
  expect(history.since(history.sequence - 1, nowMs)).toHaveLength(1);
  expect(history.since(history.sequence, nowMs)).toEqual([]);
});
