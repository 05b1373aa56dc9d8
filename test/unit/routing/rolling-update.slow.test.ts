import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { digestOf } from '../../support/image.ts';
import { IndexCluster } from '../../support/index-cluster.ts';

/** Of one image, which all of them hold. */
const IMAGE = Array.from({ length: 8 }, (_, blob) => digestOf(Buffer.from(`blob ${blob}`)));
/** Between one restart and the next: a new process, and what others do about it. */
const RESTART_MS = 3_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** All agents restarted, one after the other, stores kept. @returns how many calls that took, and how many lookups by who was just back found nothing. */
async function callsOfRollingUpdate(count: number): Promise<{ calls: number; lost: number }> {
  const cluster = new IndexCluster({ gossips: false });
  const names = Array.from({ length: count }, (_, index) => `the-agent-${index}`);
  for (const name of names) await cluster.add(name, IMAGE);
  await vi.advanceTimersByTimeAsync(120_000);
  cluster.calls.log.length = 0;
  let lost = 0;
  for (const name of names) {
    await cluster.leave(name);
    await vi.advanceTimersByTimeAsync(RESTART_MS);
    await cluster.add(name, IMAGE, { incarnation: 2 });
    await vi.advanceTimersByTimeAsync(RESTART_MS);
    for (const digest of IMAGE) {
      const found = await cluster.agents.get(name)?.router.lookup(digest, {
        signal: new AbortController().signal,
        timeoutMs: 1_000,
      });
      if (found?.length === 0) lost += 1;
    }
  }
  return { calls: cluster.calls.log.length - cluster.calls.count('lookup'), lost };
}

it('a rolling update takes calls that grow with the number of agents, not with its square', async () => {
  const few = await callsOfRollingUpdate(12);
  const many = await callsOfRollingUpdate(48);
  expect(few.lost + many.lost).toBe(0);
  expect(many.calls / 48).toBeLessThan((1.25 * few.calls) / 12);
});
