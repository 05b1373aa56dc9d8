import { expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { apiFailure } from '../../../src/kubernetes/api-failure.ts';
import { retried } from '../../../src/kubernetes/retried.ts';
import { EventQueue } from '../../support/event-queue.ts';

/** Calls that fail so, one after another, and succeed then. @returns when each was made, and how it ended */
async function run(failures: readonly WindlassError[], timeoutMs = 240_000) {
  const clock = new EventQueue();
  const atMs: number[] = [];
  const told: string[] = [];
  let ended: unknown;
  const call = async () => {
    atMs.push(clock.now());
    const failure = failures[atMs.length - 1];
    if (failure !== undefined) throw failure;
    return 'done';
  };
  const { signal } = new AbortController();
  const onFailure = ({ message }: WindlassError) => told.push(message);
  const running = retried(call, { timeoutMs, timers: clock, signal, random: () => 0.5, onFailure }).then(
    (value) => (ended = value),
    (error) => (ended = error),
  );
  await clock.run(1_000_000, () => ended !== undefined);
  await running;
  return { atMs, told, ended };
}

const away = apiFailure('away');
const answered = (upstreamStatus: number, retryAfterMs?: number) =>
  apiFailure(`answered ${upstreamStatus}`, { upstreamStatus, retryAfterMs });

test('what succeeds is not asked again', async () => {
  expect(await run([])).toEqual({ atMs: [0], told: [], ended: 'done' });
});

test('an API server that is away is tried twice as long apart each time, 5 s at most', async () => {
  const { atMs, ended } = await run(Array.from({ length: 8 }, () => away));
  expect(ended).toBe('done');
  expect(atMs).toEqual([0, 250, 750, 1_750, 3_750, 7_750, 12_750, 17_750, 22_750]);
});

test.each([401, 410, 429, 500, 503])('an answer of %i may pass', async (status) => {
  expect(await run([answered(status)])).toEqual({ atMs: [0, 250], told: [`answered ${status}`], ended: 'done' });
});

test('what it says of when to come back is heeded', async () => {
  expect((await run([answered(429, 7_000)])).atMs).toEqual([0, 7_000]);
});

test.each([400, 404, 409, 422])('an answer of %i does not pass', async (status) => {
  const failure = answered(status);
  expect(await run([failure])).toEqual({ atMs: [0], told: [], ended: failure });
});

test('a fault of another kind is thrown as it is', async () => {
  const failure = new WindlassError('OBJECT_UNUSABLE', 'no key');
  expect(await run([failure])).toMatchObject({ atMs: [0], ended: failure });
});

test('a right that a server has not heard of yet is waited for, 15 s', async () => {
  expect((await run([answered(403), answered(403)])).ended).toBe('done');
  const failure = answered(403);
  const { atMs, ended } = await run(Array.from({ length: 20 }, () => failure));
  expect(ended).toBe(failure);
  expect(atMs.at(-1)).toBe(17_750);
});

test('when the time is over the last failure is thrown, with no wait before', async () => {
  const { atMs, ended } = await run(
    Array.from({ length: 20 }, () => away),
    10_000,
  );
  expect(ended).toBe(away);
  expect(atMs).toEqual([0, 250, 750, 1_750, 3_750, 7_750]);
});
