import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../support/image.ts';
import { IndexCluster } from '../../support/index-cluster.ts';

const digests = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => digestOf(Buffer.from(`${prefix} ${index}`)));
const anySignal = new AbortController().signal;
const lookup = (cluster: IndexCluster, asker: string, digest: string) =>
  cluster.agents.get(asker)?.router.lookup(digest, { signal: anySignal, timeoutMs: 10_000 });

describe('the index of a cluster, without gossip', () => {
  let cluster: IndexCluster;

  beforeEach(() => {
    vi.useFakeTimers();
    cluster = new IndexCluster({ gossips: false });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function start(count: number, held: (index: number) => readonly string[] = () => []): Promise<void> {
    for (let index = 0; index < count; index += 1) await cluster.add(`the-agent-${index}`, held(index));
    await vi.advanceTimersByTimeAsync(80_000);
    // What is shown from here on is shown by the keepers alone.
    cluster.provided.clear();
  }

  async function expectAllFound(holders: ReadonlyMap<string, string>): Promise<void> {
    for (const [digest, holder] of holders) {
      for (const asker of cluster.agents.keys()) {
        if (asker === holder) continue;
        expect(await lookup(cluster, asker, digest), `${digest} asked for by ${asker}`).toEqual([holder]);
      }
    }
  }

  const heldBy = (count: number, each: number): Map<string, string> =>
    new Map(
      Array.from({ length: count }, (_, index) =>
        digests(`of ${index}`, each).map((digest) => [digest, `the-agent-${index}`] as const),
      ).flat(),
    );

  it('every agent finds what every other holds', async () => {
    await start(12, (index) => digests(`of ${index}`, 10));
    await expectAllFound(heldBy(12, 10));
  });

  it('tells each keeper in one call, however many digests are advertised', async () => {
    await start(12);
    cluster.calls.log.length = 0;
    const many = digests('many', 500);
    for (const digest of many) cluster.agents.get('the-agent-0')?.router.advertise([digest]);
    await vi.advanceTimersByTimeAsync(100);
    expect(cluster.calls.count('announce')).toBe(11);
    for (const digest of many.slice(0, 20))
      expect(await lookup(cluster, 'the-agent-5', digest)).toEqual(['the-agent-0']);
  });

  it('forgets what is withdrawn', async () => {
    await start(5, (index) => digests(`of ${index}`, 2));
    const [digest = ''] = digests('of 1', 1);
    cluster.agents.get('the-agent-1')?.router.withdraw([digest]);
    await vi.advanceTimersByTimeAsync(100);
    expect(await lookup(cluster, 'the-agent-3', digest)).toEqual([]);
  });

  it('loses nothing when agents leave in order, one after the other', async () => {
    await start(10, (index) => (index === 0 ? digests('of 0', 60) : []));
    for (let index = 1; index < 7; index += 1) {
      await cluster.leave(`the-agent-${index}`);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    await expectAllFound(new Map(digests('of 0', 60).map((digest) => [digest, 'the-agent-0'])));
  });

  it('is whole again after a keeper died, and another one a while later, until few are left', async () => {
    await start(10, (index) => (index === 0 ? digests('of 0', 60) : []));
    for (const dead of ['the-agent-1', 'the-agent-7', 'the-agent-3', 'the-agent-2', 'the-agent-5', 'the-agent-4']) {
      cluster.die(dead);
      await vi.advanceTimersByTimeAsync(5_000);
    }
    await expectAllFound(new Map(digests('of 0', 60).map((digest) => [digest, 'the-agent-0'])));
  });

  it('a rolling update announces nothing again: calls grow with the agents, not with their square', async () => {
    const callsOf = async (count: number) => {
      cluster = new IndexCluster({ gossips: false });
      await start(count, (index) => digests(`of ${index}`, 20));
      cluster.calls.log.length = 0;
      for (let index = 0; index < count; index += 1) {
        await cluster.leave(`the-agent-${index}`);
        await vi.advanceTimersByTimeAsync(3_000);
        await cluster.add(`the-agent-${index}`, digests(`of ${index}`, 20), { incarnation: 2 });
        await vi.advanceTimersByTimeAsync(7_000);
      }
      expect(cluster.calls.count('announce')).toBe(0);
      const calls = cluster.calls.log.length;
      await expectAllFound(heldBy(count, 2));
      return calls;
    };
    const small = await callsOf(12);
    const large = await callsOf(24);
    expect(large).toBeLessThan(3 * small);
  });

  it('after all restarted at once, having forgotten everything, it becomes whole by itself', async () => {
    await start(8, (index) => digests(`of ${index}`, 10));
    const held = heldBy(8, 10);
    for (let index = 0; index < 8; index += 1) cluster.die(`the-agent-${index}`);
    await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        cluster.add(`the-agent-${index}`, digests(`of ${index}`, 10), { incarnation: 2 }),
      ),
    );
    await vi.advanceTimersByTimeAsync(15_000);
    cluster.provided.clear();
    await expectAllFound(held);
  });

  it('what a keeper forgot is told again when it is next compared', async () => {
    await start(5, (index) => (index === 0 ? digests('of 0', 20) : []));
    const held = digests('of 0', 20);
    for (const agent of cluster.agents.values()) agent.index.replace('the-agent-0', []);
    expect(await lookup(cluster, 'the-agent-2', held[0] ?? '')).toEqual([]);
    await vi.advanceTimersByTimeAsync(700_000);
    await expectAllFound(new Map(held.map((digest) => [digest, 'the-agent-0'])));
  });

  it('a tag known to one agent is known to its keepers, with its age', async () => {
    const record = Buffer.from('{"digest":"sha256:…"}');
    await cluster.add('the-agent-0', [], {
      tags: [{ key: 'tag:docker.io/library/redis:7', bytes: record, ageMs: 5_000 }],
    });
    for (let index = 1; index < 6; index += 1) await cluster.add(`the-agent-${index}`);
    await vi.advanceTimersByTimeAsync(15_000);
    const keepers = cluster.agents.get('the-agent-1')?.roster.keepers('tag:docker.io/library/redis:7') ?? [];
    for (const { peerId } of keepers) {
      const known = cluster.agents.get(peerId)?.index.lastKnown('tag:docker.io/library/redis:7');
      expect(Buffer.from(known?.bytes ?? []).toString(), peerId).toBe(record.toString());
      expect(known?.ageMs).toBeGreaterThanOrEqual(5_000);
    }
  });

  it('a tag that a keeper forgot, or never heard of, is told when it is next compared, though it knows every blob', async () => {
    const key = 'tag:docker.io/library/redis:7';
    const record = Buffer.from('{"digest":"sha256:…"}');
    await cluster.add('the-agent-0', [], { tags: [{ key, bytes: record, ageMs: 5_000 }] });
    for (let index = 1; index < 6; index += 1) await cluster.add(`the-agent-${index}`);
    await vi.advanceTimersByTimeAsync(80_000);
    const knowing = () => [...cluster.agents.values()].filter(({ index }) => index.lastKnown(key) !== undefined);
    for (const { index } of knowing()) index.prune((kept) => kept !== key);
    await vi.advanceTimersByTimeAsync(700_000);
    const names = knowing().map(({ member }) => member.peerId);
    const keepers = cluster.agents.get('the-agent-1')?.roster.keepers(key) ?? [];
    expect(names).toEqual(expect.arrayContaining(keepers.map(({ peerId }) => peerId)));
    // Once known it is not told again.
    cluster.calls.log.length = 0;
    await vi.advanceTimersByTimeAsync(700_000);
    expect([cluster.calls.count('announce'), cluster.calls.count('confirm') > 0]).toEqual([0, true]);
    // Nor where it was dropped meanwhile, by an agent that missed that.
    for (const { index } of knowing()) index.forget(key);
    await vi.advanceTimersByTimeAsync(700_000);
    const others = knowing().filter(({ member }) => member.peerId !== 'the-agent-0');
    expect([others, cluster.calls.count('announce')]).toEqual([[], 0]);
  });

  it('nonsense is refused, and one agent cannot speak for another', async () => {
    await start(4, (index) => (index === 0 ? digests('of 0', 3) : []));
    const agent = cluster.agents.get('the-agent-1');
    for (const body of [
      undefined,
      'x',
      { type: 'announce' },
      { type: 'handover', entries: 7 },
      {
        type: 'announce',
        full: true,
        add: { sha256: 'AAAA', others: [] },
        remove: { sha256: '', others: [] },
        tags: [],
      },
    ]) {
      await expect(agent?.router.handle('the-agent-2', body)).rejects.toMatchObject({ code: 'PEER_NONSENSE' });
    }
    const nothing = { sha256: '', others: [] };
    await agent?.router.handle('the-agent-2', {
      type: 'announce',
      full: true,
      add: nothing,
      remove: nothing,
      tags: [],
    });
    await expectAllFound(new Map(digests('of 0', 3).map((digest) => [digest, 'the-agent-0'])));
  });
});

describe('a lookup that the keepers cannot answer', () => {
  it('is answered by what gossip said, else by the DHT', async () => {
    vi.useFakeTimers();
    try {
      const cluster = new IndexCluster({ gossips: true });
      for (const name of ['the-agent-a', 'the-agent-b', 'the-agent-c', 'the-agent-d', 'the-agent-e', 'the-agent-f'])
        await cluster.add(name);
      const [digest = '', other = ''] = digests('x', 2);
      cluster.agents.get('the-agent-a')?.router.advertise([digest, other]);
      await vi.advanceTimersByTimeAsync(20_000);
      for (const { index } of cluster.agents.values()) index.replace('the-agent-a', []);
      cluster.provided.delete(digest);
      expect(await lookup(cluster, 'the-agent-d', digest)).toEqual(['the-agent-a']);
      cluster.provided.set('sha256:'.padEnd(71, 'f'), new Set(['the-agent-b', 'gone']));
      expect(await lookup(cluster, 'the-agent-d', 'sha256:'.padEnd(71, 'f'))).toEqual(['the-agent-b']);
      expect(await lookup(cluster, 'the-agent-d', 'sha256:'.padEnd(71, 'e'))).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('knows what gossip said for two minutes, and of members alone', async () => {
    vi.useFakeTimers();
    try {
      const cluster = new IndexCluster({ gossips: true });
      for (const name of ['the-agent-a', 'the-agent-b', 'the-agent-c']) await cluster.add(name);
      const [digest = '', dropped = ''] = digests('x', 2);
      const [holder, other] = [cluster.agents.get('the-agent-a')?.router, cluster.agents.get('the-agent-b')?.router];
      holder?.advertise([digest, dropped]);
      await vi.advanceTimersByTimeAsync(5_000);
      expect(other?.heard(digest)).toEqual(['the-agent-a']);
      expect(holder?.heard(digest)).toEqual([]);
      holder?.withdraw([dropped]);
      await vi.advanceTimersByTimeAsync(5_000);
      expect(other?.heard(dropped)).toEqual([]);
      await vi.advanceTimersByTimeAsync(120_000);
      expect(other?.heard(digest)).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });
});
