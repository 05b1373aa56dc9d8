import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Standstill } from '../../../../src/pull/claims/standstill.ts';
import type { Timers } from '../../../../src/time/timers.ts';
import { EventQueue } from '../../../support/event-queue.ts';

describe('whether an agent stood still', () => {
  let queue: EventQueue;
  let stoodMs: number;
  let aheadMs: number;
  let standstill: Standstill;

  beforeEach(() => {
    queue = new EventQueue();
    stoodMs = 0;
    aheadMs = 1_700_000_000_000;
    const timers: Timers = {
      now: () => queue.now() + stoodMs,
      wall: () => queue.now() + stoodMs + aheadMs,
      after: (ms, call) => queue.after(ms, call),
    };
    standstill = new Standstill(timers);
  });
  afterEach(() => standstill.stop());

  const isAwake = () => standstill.awokeAtMs === Number.NEGATIVE_INFINITY;

  it('is no question while its timers come in time, or a second late', async () => {
    await queue.run(60_000);
    stoodMs += 1_000;
    expect(isAwake()).toBe(true);
    await queue.run(60_000 + 5_000);
    expect(isAwake()).toBe(true);
  });

  it('is seen at once, before any timer came, and forgotten after ten seconds', async () => {
    await queue.run(3_300);
    stoodMs += 4_000;
    expect(standstill.awokeAtMs).toBe(queue.now() + stoodMs);
    await queue.run(queue.now() + 9_000);
    expect(isAwake()).toBe(false);
    await queue.run(queue.now() + 1_500);
    expect(isAwake()).toBe(true);
  });

  it('is seen where the monotonic clock stood still as well, as on a suspended machine', async () => {
    await queue.run(3_300);
    aheadMs += 60_000;
    expect(standstill.awokeAtMs).toBe(queue.now());
  });

  it('is not read from a wall clock that is wrong, goes a little faster, or is set back', async () => {
    for (let seconds = 1; seconds <= 600; seconds += 1) {
      aheadMs += 5;
      await queue.run(seconds * 1_000);
      expect(isAwake()).toBe(true);
    }
    aheadMs -= 86_400_000;
    expect(isAwake()).toBe(true);
    await queue.run(700_000);
    expect(isAwake()).toBe(true);
  });
});
