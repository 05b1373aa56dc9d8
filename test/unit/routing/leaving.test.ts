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
});
