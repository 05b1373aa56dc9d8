import { setImmediate, setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Bound } from '../../../src/peer/bound.ts';

const late = () => new Error('late');
const never = new AbortController().signal;

/** Nothing happens in this process for so long. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function aborted({ signal }: Bound): Promise<unknown> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }));
}

describe('a bound', () => {
  test('ends its signal when time is up', async () => {
    const bound = new Bound(never, 20, late);
    expect(await aborted(bound)).toEqual(late());
  });

  test('ends with the outer signal, for the same reason', () => {
    const outer = new AbortController();
    const bound = new Bound(outer.signal, 60_000, late);
    outer.abort('why');
    expect(bound.signal.reason).toBe('why');
    bound.end();
    expect(new Bound(outer.signal, 60_000, late).signal.reason).toBe('why');
  });

  test('once ended it never fires', async () => {
    const bound = new Bound(never, 10, late);
    bound.end();
    await setTimeout(50);
    expect(bound.signal.aborted).toBe(false);
  });

  test('a process that stood still for longer than the bound gives the other side time all the same', async () => {
    const bound = new Bound(never, 200, late);
    standStill(500);
    // Timers that are due have fired, and what came has been read.
    await setTimeout(0);
    await setImmediate();
    expect(bound.signal.aborted).toBe(false);
    expect(await aborted(bound)).toEqual(late());
  });
});
