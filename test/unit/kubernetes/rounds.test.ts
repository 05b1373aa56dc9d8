import { beforeEach, expect, test } from 'vitest';
import { Rounds } from '../../../src/kubernetes/rounds.ts';
import { EventQueue } from '../../support/event-queue.ts';

let timers: EventQueue;
let begun: number[];
let signals: AbortSignal[];
let failures: unknown[];
/** What the rounds come to; the last one, again and again. */
let ends: (number | Error | Promise<number>)[];
let rounds: Rounds;
beforeEach(() => {
  timers = new EventQueue();
  [begun, signals, failures, ends] = [[], [], [], []];
  rounds = new Rounds({
    round: async (signal) => {
      begun.push(timers.now());
      signals.push(signal);
      const end = ends.length > 1 ? ends.shift() : ends[0];
      if (end instanceof Error) throw end;
      return end ?? 1_000;
    },
    onFailure: (error) => {
      failures.push(error);
      return 500;
    },
    timers,
  });
});

test('the next round begins so long after the end of one as that says, or as is said of its failure', async () => {
  const away = new Error('away');
  ends = [300, away, 1_000];
  rounds.start();
  await timers.run(2_000);
  expect([begun, failures]).toEqual([[0, 300, 800, 1_800], [away]]);
  await rounds.stop();
});

test('stopped while it waits, it begins no further round', async () => {
  rounds.start();
  await timers.run(1_500);
  await rounds.stop();
  await timers.run(10_000);
  expect([begun, timers.nextInMs]).toEqual([[0, 1_000], undefined]);
});

test.each(['ends well', 'fails'])(
  'stopped during a round, that is waited for, and nobody is told: it %s',
  async (how) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    ends = [promise];
    rounds.start();
    let isStopped = false;
    const stopped = rounds.stop().then(() => {
      isStopped = true;
    });
    await timers.run(5_000);
    expect([begun, signals.map(({ aborted }) => aborted), isStopped]).toEqual([[0], [true], false]);
    if (how === 'fails') reject(new Error('cut off'));
    else resolve(100);
    await stopped;
    await timers.run(10_000);
    expect([begun, failures]).toEqual([[0], []]);
  },
);

test('one that never started can be stopped, and one that is stopped again', async () => {
  await rounds.stop();
  await rounds.stop();
  expect(begun).toEqual([]);
});
