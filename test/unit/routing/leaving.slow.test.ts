import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../support/image.ts';
import { IndexCluster } from '../../support/index-cluster.ts';

const digests = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => digestOf(Buffer.from(`${prefix} ${index}`)));

describe('an agent that leaves', () => {
  let cluster: IndexCluster;

  beforeEach(() => {
    vi.useFakeTimers();
    cluster = new IndexCluster({ gossips: false });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function start(): Promise<void> {
    for (let index = 0; index < 8; index += 1) {
      await cluster.add(`the-agent-${index}`, index === 0 ? digests('of 0', 60) : []);
    }
    await vi.advanceTimersByTimeAsync(80_000);
  }

  it('hands over what it kept, though its own roster does not name it any more', async () => {
    await start();
    const agent = cluster.agents.get('the-agent-3');
    const kept = digests('of 0', 60).filter((digest) =>
      agent?.roster.keepers(`blob:${digest}`).some(({ peerId }) => peerId === 'the-agent-3'),
    );
    expect(kept.length).toBeGreaterThan(10);
    await cluster.leave('the-agent-3');
    const others = cluster.agents.get('the-agent-0')?.roster;
    for (const digest of kept) {
      for (const { peerId } of others?.keepers(`blob:${digest}`) ?? []) {
        expect(cluster.agents.get(peerId)?.index.holders(`blob:${digest}`), `${digest} ${peerId}`).toEqual([
          'the-agent-0',
        ]);
      }
    }
  });

  it('hands over while a keeper that it has something to tell does not answer', async () => {
    await start();
    const agent = cluster.agents.get('the-agent-3');
    cluster.calls.hang('the-agent-5');
    agent?.router.advertise(digests('last', 20));
    cluster.calls.log.length = 0;
    await cluster.leave('the-agent-3', AbortSignal.timeout(2_000));
    expect(cluster.calls.count('handover')).toBeGreaterThan(1);
  });

  it('tells many keepers what it holds a few at a time', async () => {
    await start();
    cluster.calls.delayMs = 100;
    cluster.calls.mostAtOnce = 0;
    for (let index = 8; index < 40; index += 1) void cluster.add(`the-agent-${index}`);
    await vi.advanceTimersByTimeAsync(80_000);
    cluster.calls.mostAtOnce = 0;
    cluster.agents.get('the-agent-0')?.router.advertise(digests('many', 500));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(cluster.calls.count('announce')).toBeGreaterThan(35);
    expect(cluster.calls.mostAtOnce).toBeLessThanOrEqual(16);
  });
});

describe('what changes while keepers are compared one after the other', () => {
  it('is not undone: what was withdrawn is not announced again, what is new is not forgotten', async () => {
    vi.useFakeTimers();
    try {
      const cluster = new IndexCluster({ gossips: false });
      const held = digests('of 0', 60);
      for (let index = 0; index < 12; index += 1) await cluster.add(`the-agent-${index}`, index === 0 ? held : []);
      await vi.advanceTimersByTimeAsync(80_000);
      for (const { index } of cluster.agents.values()) index.replace('the-agent-0', held.slice(1));
      cluster.calls.delayMs = 1_000;
      // Until the first keeper is compared with.
      cluster.calls.log.length = 0;
      while (cluster.calls.count('the-agent-0 → ') === 0) await vi.advanceTimersByTimeAsync(500);
      const gone = held.slice(0, 30);
      const fresh = digests('fresh', 30);
      cluster.agents.get('the-agent-0')?.router.withdraw(gone);
      cluster.agents.get('the-agent-0')?.router.advertise(fresh);
      await vi.advanceTimersByTimeAsync(60_000);
      const asker = cluster.agents.get('the-agent-7')?.router;
      const options = { signal: new AbortController().signal, timeoutMs: 10_000 };
      cluster.provided.clear();
      cluster.calls.delayMs = 0;
      for (const digest of gone) expect(await asker?.lookup(digest, options)).toEqual([]);
      for (const digest of fresh) expect(await asker?.lookup(digest, options)).toEqual(['the-agent-0']);
    } finally {
      vi.useRealTimers();
    }
  });
});
