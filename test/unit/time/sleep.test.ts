import { getEventListeners } from 'node:events';
import { beforeEach, expect, test } from 'vitest';
import { sleep } from '../../../src/time/sleep.ts';
import { EventQueue } from '../../support/event-queue.ts';

let timers: EventQueue;
let stop: AbortController;
beforeEach(() => {
  timers = new EventQueue();
  stop = new AbortController();
});

test('resolves after its time, and leaves no listener behind', async () => {
  const slept = sleep(1_000, stop.signal, timers).then(() => timers.now());
  await timers.run(2_000);
  expect([await slept, getEventListeners(stop.signal, 'abort')]).toEqual([1_000, []]);
});

test.each(['before it began', 'while it waited'])(
  "rejects with the signal's reason, aborted %s, and leaves no timer",
  async (when) => {
    const reason = new Error('stop');
    if (when === 'before it began') stop.abort(reason);
    const slept = sleep(1_000, stop.signal, timers);
    if (when === 'while it waited') stop.abort(reason);
    await expect(slept).rejects.toBe(reason);
    expect(timers.nextInMs).toBeUndefined();
  },
);
