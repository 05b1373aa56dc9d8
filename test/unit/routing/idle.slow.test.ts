import { afterEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../support/image.ts';
import { IndexCluster } from '../../support/index-cluster.ts';
import { RosterSimulation } from './roster-simulation.ts';

const IDLE_MS = 600_000;
const BLOBS_EACH = 20;

/** Per agent, in ten idle minutes of a cluster that has settled. */
async function indexCalls(count: number): Promise<number> {
  const cluster = new IndexCluster({ gossips: true });
  for (let number = 0; number < count; number += 1) {
    const held = Array.from({ length: BLOBS_EACH }, (_, blob) => digestOf(Buffer.from(`${number} ${blob}`)));
    await cluster.add(`agent-${number}`, held);
  }
  await vi.advanceTimersByTimeAsync(120_000);
  cluster.calls.log.length = 0;
  await vi.advanceTimersByTimeAsync(IDLE_MS);
  return cluster.calls.log.length / count;
}

/** The same of members that look after each other. */
async function rosterCalls(count: number): Promise<number> {
  const cluster = new RosterSimulation(1);
  await cluster.settled(count);
  cluster.calls.clear();
  await cluster.clock.run(IDLE_MS);
  return [...cluster.calls.values()].reduce((sum, calls) => sum + calls, 0) / count;
}

afterEach(() => void vi.useRealTimers());

describe('what an idle agent asks of others does not grow with the cluster, 15, 30 and 60 agents:', () => {
  it.each([
    ['who holds what', true, indexCalls],
    ['who is there', false, rosterCalls],
  ])('%s', { timeout: 60_000 }, async (_what, faked, callsOf) => {
    if (faked) vi.useFakeTimers();
    const few = await callsOf(15);
    expect(few).toBeGreaterThan(0);
    expect(await callsOf(30)).toBeLessThan(1.25 * few);
    expect(await callsOf(60)).toBeLessThan(1.25 * few);
  });
});

/** Of 41 agents the first holds so much that all others keep some of it. */
async function fortyKeepers(): Promise<IndexCluster> {
  vi.useFakeTimers();
  const cluster = new IndexCluster({ gossips: false });
  for (let number = 0; number < 41; number += 1) await cluster.add(`agent-${number}`);
  const held = Array.from({ length: 400 }, (_, blob) => digestOf(Buffer.from(`${blob}`)));
  cluster.agents.get('agent-0')?.router.advertise(held);
  await vi.advanceTimersByTimeAsync(60_000);
  return cluster;
}

it('where one of forty differs all are compared with at once', async () => {
  const cluster = await fortyKeepers();
  const known = () => [...cluster.agents.values()].map(({ index }) => index.keysOf('agent-0').length);
  const before = known();
  for (const { index } of cluster.agents.values()) index.replace('agent-0', []);
  await vi.advanceTimersByTimeAsync(660_000);
  expect(known()).toEqual(before);
});

it('of forty keepers each has its turn: within three rounds any one knows again what it forgot', async () => {
  const cluster = await fortyKeepers();
  for (const name of ['agent-1', 'agent-23', 'agent-40']) {
    const index = cluster.agents.get(name)?.index;
    const before = index?.keysOf('agent-0').length;
    expect(before).toBeGreaterThan(0);
    index?.replace('agent-0', []);
    await vi.advanceTimersByTimeAsync(3 * 660_000);
    expect(index?.keysOf('agent-0').length).toBe(before);
  }
});
