import { describe, expect, test } from 'vitest';
import { RequestBudget, type Slot } from '../../../src/upstream/request-budget.ts';

const never = new AbortController().signal;

/** Fills the budget, queues what is named (`m` first: urgent), and tells the order in which turns come. */
async function order(max: number, queued: readonly string[]): Promise<string[]> {
  const budget = new RequestBudget(max);
  const held: Slot[] = [];
  for (let index = 0; index < max; index += 1) {
    held.push(await budget.acquire({ repository: 'first', urgent: false, signal: never }));
  }
  const turns: string[] = [];
  const waits = queued.map(async (name) => {
    const repository = name.replace(/^m?:?(\w+?)\d*$/, '$1');
    const slot = await budget.acquire({ repository, urgent: name.startsWith('m:'), signal: never });
    turns.push(name);
    expect(budget.running).toBeLessThanOrEqual(max);
    await Promise.resolve();
    slot.release();
  });
  for (const slot of held) slot.release();
  await Promise.all(waits);
  expect([budget.running, budget.queued]).toEqual([0, 0]);
  return turns;
}

describe('turns', () => {
  test('go round among repositories, whoever has more in the queue', async () => {
    expect(await order(1, ['big1', 'big2', 'big3', 'big4', 'small1', 'small2'])).toEqual([
      'big1',
      'small1',
      'big2',
      'small2',
      'big3',
      'big4',
    ]);
  });

  test('manifests go before blobs, but a blob goes after four of them', async () => {
    const manifests = Array.from({ length: 6 }, (_, index) => `m:a${index}`);
    expect(await order(1, ['blob1', 'blob2', ...manifests])).toEqual([
      'm:a0',
      'm:a1',
      'm:a2',
      'm:a3',
      'blob1',
      'm:a4',
      'm:a5',
      'blob2',
    ]);
  });
});

describe('slots', () => {
  test('a slot that is released twice is one slot', async () => {
    const budget = new RequestBudget(1);
    const options = { repository: 'r', urgent: false, signal: never };
    const slot = await budget.acquire(options);
    slot.release();
    slot.release();
    await budget.acquire(options);
    expect(budget.running).toBe(1);
    let second = false;
    void budget.acquire(options).then(() => {
      second = true;
    });
    await new Promise(setImmediate);
    expect(second).toBe(false);
  });

  test('who leaves the queue takes no turn, and keeps nobody’s place', async () => {
    const changes: number[] = [];
    const budget = new RequestBudget(1, (change) => changes.push(change));
    const slot = await budget.acquire({ repository: 'a', urgent: false, signal: never });
    const abort = new AbortController();
    const leaver = budget.acquire({ repository: 'a', urgent: false, signal: abort.signal });
    const stayer = budget.acquire({ repository: 'a', urgent: false, signal: never });
    abort.abort(new Error('left'));
    await expect(leaver).rejects.toThrow('left');
    slot.release();
    (await stayer).release();
    expect([budget.running, budget.queued]).toEqual([0, 0]);
    expect(changes).toEqual([1, 1, -1, -1]);
  });

  test('who is gone already does not queue', async () => {
    const budget = new RequestBudget(1);
    await expect(
      budget.acquire({ repository: 'a', urgent: true, signal: AbortSignal.abort(new Error('left')) }),
    ).rejects.toThrow('left');
    expect([budget.running, budget.queued]).toEqual([0, 0]);
  });
});
