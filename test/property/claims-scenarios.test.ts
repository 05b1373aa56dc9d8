import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../src/errors.ts';
import type { Claimed, ClaimRequest } from '../../src/pull/claims/claims.ts';
import { ClaimsNetwork, type NetworkOptions, nameOf } from '../support/claims-network.ts';
import { type PullsOptions, SimulatedPulls } from '../support/simulated-pulls.ts';

const KEY = `blob:sha256:${'a'.repeat(64)}`;
const SIZE = 1_000;

function stage(
  nodes: number,
  options: Partial<PullsOptions> & NetworkOptions & { readonly zones?: number; readonly skewed?: boolean } = {},
) {
  const { zones = 1, skewed = false, ...rest } = options;
  const network = new ClaimsNetwork({ seed: 7, ...rest });
  const names = Array.from({ length: nodes }, (_, i) => `node${i}`);
  network.start(
    names,
    (name) => (zones === 1 ? '' : `zone${Number(name.slice(4)) % zones}`),
    (name) =>
      skewed
        ? { rate: 0.95 + Number(name.slice(4)) * 0.01, offsetMs: (Number(name.slice(4)) - 2) * 86_400_000 }
        : { rate: 1, offsetMs: 0 },
  );
  const pulls = new SimulatedPulls(network, { key: KEY, sizeBytes: SIZE, upstreamRate: 100, linkRate: 1_000, ...rest });
  const most = { writers: 0 };
  pulls.onTick = () => {
    most.writers = Math.max(most.writers, pulls.writers().length);
  };
  return { network, pulls, names, most };
}

/** All of them finish; within a minute of simulated time, unless said otherwise. */
async function finish(network: ClaimsNetwork, pulls: SimulatedPulls, ms = 60_000): Promise<void> {
  const done = await network.queue.run(network.queue.now() + ms, () => pulls.allDone());
  expect(done, 'all pulls are done').toBe(true);
}

const writerOf = (pulls: SimulatedPulls): string => {
  const [writer, ...others] = pulls.writers();
  if (writer === undefined || others.length > 0) throw new Error(`${others.length + 1} writers`);
  return writer.agent.name;
};

describe('claims, hole by hole', () => {
  test('upstream is slow, its first byte takes 20 s: sixteen nodes ask it once', async () => {
    // Once it was seen to be so slow: else a rival asks too, after 10 s.
    const { network, pulls, names } = stage(16, { firstByteMs: 20_000 });
    for (const { parts } of network.alive()) parts.rates.noteFirstByte('docker.io', 20_000);
    for (const name of names) pulls.start(name);
    await finish(network, pulls);
    expect([pulls.requests, pulls.upstreamBytes]).toEqual([1, SIZE]);
  });

  test('upstream is slow, and nobody knew: one rival, and the bytes come once', async () => {
    const { network, pulls, names, most } = stage(16, { firstByteMs: 20_000 });
    for (const name of names) pulls.start(name);
    await finish(network, pulls);
    expect(pulls.requests).toBeLessThanOrEqual(2);
    expect(most.writers).toBeLessThanOrEqual(2);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.02 * SIZE);
  });

  test('a writer that renews and gets nothing: one rival brings it', async () => {
    const { network, pulls, names, most } = stage(8);
    for (const name of names) pulls.start(name);
    await network.queue.run(3_000);
    const stalled = writerOf(pulls);
    pulls.frozen.add(stalled);
    await network.queue.run(30_000, () =>
      pulls.living().every(({ agent, state }) => agent.name === stalled || state === 'done'),
    );
    await finish(network, pulls);
    expect([pulls.requests, most.writers]).toEqual([2, 2]);
  });

  for (const percent of [10, 50, 90]) {
    test(`the writer is killed at ${percent}%: a child goes on at once, from where it is`, async () => {
      const { network, pulls, names } = stage(16, { upstreamRate: 100 });
      for (const name of names) pulls.start(name);
      await network.queue.run((SIZE / 100) * 10 * percent);
      const first = writerOf(pulls);
      const atMs = network.queue.now();
      network.kill(first);
      await network.queue.run(atMs + 2_000, () => pulls.writers().length > 0);
      expect(network.queue.now() - atMs).toBeLessThan(300);
      await finish(network, pulls);
      expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.1 * SIZE);
      expect(pulls.requests).toBe(2);
    });
  }

  test('the keeper is killed when it has just granted: its deputies know, the writer goes on', async () => {
    const { network, pulls, names } = stage(8);
    const keeper = network.keeperOf(KEY);
    const clients = names.filter((name) => name !== keeper);
    for (const name of clients.slice(0, 3)) pulls.start(name);
    await network.queue.run(40);
    network.kill(keeper);
    for (const name of clients.slice(3)) pulls.start(name);
    await finish(network, pulls);
    expect([pulls.requests, pulls.upstreamBytes]).toEqual([1, SIZE]);
  });

  test.each(['killed', 'suspended'])(
    'the keeper is %s long after all have their seats: whoever comes then reads',
    async (how) => {
      // Nothing but renewals tells the deputies anything for half a minute.
      const { network, pulls, names } = stage(8, { upstreamRate: 10, firstByteMs: how === 'killed' ? 0 : 25_000 });
      for (const { parts } of network.alive()) parts.rates.noteFirstByte('docker.io', 20_000);
      const keeper = network.keeperOf(KEY);
      const [late = '', ...others] = names.filter((name) => name !== keeper);
      for (const name of others) pulls.start(name);
      await network.queue.run(20_000);
      if (how === 'killed') network.kill(keeper);
      else network.suspend(keeper, 10_000);
      pulls.start(late);
      await finish(network, pulls, 200_000);
      expect([pulls.requests, pulls.upstreamBytes]).toEqual([1, SIZE]);
    },
  );

  test('a keeper that stood still and knew of nothing asks its deputies to whom they gave the right', async () => {
    const { network, pulls, names } = stage(8, { upstreamRate: 10 });
    const keeper = network.keeperOf(KEY);
    const [first = '', second = ''] = names.filter((name) => name !== keeper);
    network.suspend(keeper, 8_000);
    pulls.start(first);
    await network.queue.run(8_001);
    pulls.start(second);
    await finish(network, pulls, 200_000);
    expect([pulls.requests, pulls.upstreamBytes]).toEqual([1, SIZE]);
  });

  test('the keeper stands still, in whatever phase of its timers, and dies soon after: its deputies know the writer', async () => {
    for (const silentMs of [4_000, 6_000, 8_000]) {
      for (let phaseMs = 0; phaseMs < 2_000; phaseMs += 100) {
        const { network, pulls } = stage(6, { upstreamRate: 10 });
        await network.queue.run(31_000);
        const members = network.alive()[0]?.roster.keepers(KEY, 6) ?? [];
        const near = members.map(({ peerId }) => nameOf(peerId));
        const [keeper = '', , , writer = '', late = ''] = near;
        const others = Array.from({ length: 50 }, (_, nth) => `blob:sha256:${String(nth).padStart(64, '0')}`);
        const other = others.find((key) => network.keeperOf(key) === keeper) ?? '';
        // Of another key: the keeper's sweeps begin with it.
        const request = {
          key: other,
          source: 'x/y',
          registry: 'x',
          sizeBytes: SIZE,
          prefix: 0,
          failed: [],
          inline: false,
        };
        void network.get(late).parts.claimer.claim(request, new AbortController().signal);
        await network.queue.run(network.queue.now() + 100 + (phaseMs % 500));
        pulls.start(writer);
        await network.queue.run(network.queue.now() + 3_000 + phaseMs);
        network.suspend(keeper, silentMs);
        await network.queue.run(network.queue.now() + silentMs + 3_000);
        network.kill(keeper);
        await network.queue.run(network.queue.now() + 3_000);
        pulls.start(late);
        await finish(network, pulls, 200_000);
        expect([silentMs, phaseMs, pulls.requests, pulls.upstreamBytes]).toEqual([silentMs, phaseMs, 1, SIZE]);
      }
    }
  });

  test('keeper and writer die at once: one other goes on', async () => {
    const { network, pulls, names, most } = stage(8);
    for (const name of names) pulls.start(name);
    await network.queue.run(4_000);
    const writer = writerOf(pulls);
    network.kill(network.keeperOf(KEY));
    if (network.get(writer).alive) network.kill(writer);
    await finish(network, pulls);
    expect(most.writers).toBeLessThanOrEqual(2);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.2 * SIZE);
  });

  test('a nearer keeper joins between claim and grant: it asks those that were before it', async () => {
    const { network, pulls, names } = stage(6);
    const keeper = network.keeperOf(KEY);
    network.kill(keeper);
    await network.queue.run(1_100);
    for (const name of names.filter((name) => name !== keeper).slice(0, 3)) pulls.start(name);
    await network.queue.run(1_500);
    network.restart(keeper);
    await network.queue.run(2_700);
    for (const name of names.filter((name) => name !== keeper).slice(3)) pulls.start(name);
    pulls.start(keeper);
    await finish(network, pulls);
    expect([pulls.requests, pulls.upstreamBytes]).toEqual([1, SIZE]);
  });

  test('a partition in halves: a writer on either side at most; healed, one of them', async () => {
    const { network, pulls, names, most } = stage(16, { upstreamRate: 50 });
    for (const name of names) pulls.start(name);
    await network.queue.run(2_000);
    network.partition(names.slice(0, 8));
    await network.queue.run(10_000);
    expect(most.writers).toBe(2);
    network.heal();
    await network.queue.run(16_000);
    expect(pulls.writers()).toHaveLength(1);
    await finish(network, pulls);
    expect(pulls.upstreamBytes).toBeLessThan(2 * SIZE);
  });

  test.each([8, 16])('300 partitions of %d, each known late: upstream is asked once by each side', async (nodes) => {
    for (let seed = 0; seed < 300; seed += 1) {
      const {
        network,
        pulls,
        names,
        most: seen,
      } = stage(nodes, { upstreamRate: 50, newsMs: 20_000, suspectMs: 3_000, seed });
      for (const name of names) pulls.start(name);
      await network.queue.run(1_000 + network.random() * 8_000);
      const order = names.map((name) => ({ name, at: network.random() })).sort((a, b) => a.at - b.at);
      network.partition(order.slice(0, nodes / 2).map(({ name }) => name));
      await finish(network, pulls);
      expect(seen.writers, `seed ${seed}`).toBeLessThanOrEqual(2);
      expect(pulls.requests, `seed ${seed}`).toBeLessThanOrEqual(2);
    }
  });

  test('50 partitions, each known late: of what would come inline each side has one writer', async () => {
    const signal = new AbortController().signal;
    for (let seed = 0; seed < 50; seed += 1) {
      const { network, names } = stage(16, { newsMs: 20_000, suspectMs: 3_000, seed });
      const order = names.map((name) => ({ name, at: network.random() })).sort((a, b) => a.at - b.at);
      const side = new Set(order.slice(0, 8).map(({ name }) => name));
      network.partition(side);
      const writers: string[] = [];
      for (const { name, parts } of network.alive()) {
        const source = 'docker.io/library/redis';
        const request = {
          key: KEY,
          source,
          registry: 'docker.io',
          sizeBytes: 100,
          prefix: 0,
          failed: [],
          inline: true,
        };
        void parts.claimer.claim(request, signal).then(({ kind }) => kind === 'write' && writers.push(name));
      }
      await network.queue.run(16_000);
      expect(writers.map((name) => side.has(name)).sort(), `seed ${seed}`).toEqual([false, true]);
    }
  });

  test('each of three zones imports once, and again when its importer has lost its parent', async () => {
    const { network, pulls, names } = stage(30, { zones: 3 });
    for (const name of names) pulls.start(name);
    await network.queue.run(2_000);
    const importers = () =>
      pulls.living().filter(({ agent, state, parent }) => {
        return state === 'reading' && network.get(parent ?? '').member.zone !== agent.member.zone;
      });
    expect(importers()).toHaveLength(2);
    const [importer] = importers();
    network.kill(importer?.parent ?? '');
    await network.queue.run(4_000);
    expect(importers()).toHaveLength(2);
    await finish(network, pulls);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.1 * SIZE);
  });

  test('the writer above 64 readers is killed: only its own children ask', async () => {
    const { network, pulls, names } = stage(65, { newsMs: 0 });
    for (const name of names) pulls.start(name);
    await network.queue.run(4_000);
    const asked = () => network.calls.get('claims claim') ?? 0;
    const before = asked();
    network.kill(writerOf(pulls));
    await network.queue.run(7_000);
    expect(asked() - before).toBeLessThanOrEqual(3);
    await finish(network, pulls);
    expect(pulls.requests).toBe(2);
  });

  test('who may not read upstream comes first: who may is not failed by it', async () => {
    const { network, pulls } = stage(4);
    pulls.refused.set('docker.io/private/a', new WindlassError('UPSTREAM_UNAUTHORIZED', 'no', { upstreamStatus: 401 }));
    const denied = pulls.start('node0', 0, 'docker.io/private/a');
    await network.queue.run(50);
    for (const name of ['node1', 'node2', 'node3']) pulls.start(name, 0, 'docker.io/public/b');
    const done = await network.queue.run(30_000, () =>
      pulls.living().every((pull) => pull === denied || pull.state === 'done'),
    );
    expect([done, pulls.upstreamBytes]).toEqual([true, SIZE]);
  });

  test('upstream gives wrong bytes: two ask it, then all are told', async () => {
    const { network, pulls, names } = stage(8);
    pulls.refused.set('docker.io/library/redis', new WindlassError('DIGEST_MISMATCH', 'other bytes'));
    for (const name of names) pulls.start(name);
    await network.queue.run(10_000);
    expect(pulls.requests).toBe(2);
    expect(new Set(pulls.errors.map(({ name }) => name)).size).toBe(8);
  });

  test('sixty nodes want a cold manifest: one fetches it, the keeper hands it to the others', async () => {
    const { network } = stage(60);
    const bytes = Buffer.from('{"schemaVersion":2}');
    const request: ClaimRequest = {
      key: `blob:sha256:${createHash('sha256').update(bytes).digest('hex')}`,
      source: 'docker.io/library/redis',
      registry: 'docker.io',
      sizeBytes: bytes.length,
      prefix: 0,
      failed: [],
      inline: true,
    };
    const kinds: string[] = [];
    const signal = new AbortController().signal;
    for (const { parts } of network.alive()) {
      const take = (claimed: Claimed) => {
        kinds.push(claimed.kind);
        if (claimed.kind !== 'write') return;
        network.queue.after(3_000, () => parts.claimer.held(request.key, request.source, { bytes }));
      };
      void parts.claimer.claim(request, signal).then(take);
    }
    await network.queue.run(10_000, () => kinds.length === 60);
    expect(kinds.filter((kind) => kind === 'write')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'bytes')).toHaveLength(59);
  });

  const MIB = 1024 * 1024;
  test.each([
    { what: 'writes on from there', sizeBytes: 100 * MIB, requests: 2, share: 0.6 },
    { what: 'of a small blob reads', sizeBytes: 10 * MIB, requests: 1, share: 1 },
  ])('a node that restarts with 60% while another writes at 10% $what', async ({ sizeBytes, requests, share }) => {
    const { network, pulls, names, most } = stage(4, { sizeBytes, upstreamRate: sizeBytes / 10, linkRate: sizeBytes });
    for (const name of names.slice(1)) pulls.start(name);
    await network.queue.run(1_000);
    pulls.start('node0', 0.6 * sizeBytes);
    await finish(network, pulls);
    // What the two of them lacked, and what came for a second, until the keeper had heard of the other's first byte.
    expect(pulls.upstreamBytes / sizeBytes).toBeLessThanOrEqual(share + 0.03);
    expect([pulls.requests, most.writers]).toEqual([requests, requests]);
  });

  test('one cannot reach the keeper, another not its parent: still one writer', async () => {
    const { network, pulls, names, most } = stage(6);
    const keeper = network.keeperOf(KEY);
    const [a = '', b = '', c = ''] = names.filter((name) => name !== keeper);
    network.cut.add(`${a}>${keeper}`);
    network.cut.add(`${c}>${b}`);
    pulls.start(c);
    await network.queue.run(200);
    for (const name of names.filter((name) => name !== c)) pulls.start(name);
    await finish(network, pulls);
    expect([most.writers, pulls.upstreamBytes]).toEqual([1, SIZE]);
  });

  test('alone, nobody is called; of two, the other one goes on when one dies', async () => {
    const alone = stage(1);
    alone.pulls.start('node0');
    await finish(alone.network, alone.pulls);
    expect([...alone.network.calls.keys()]).toEqual([]);

    const { network, pulls } = stage(2);
    pulls.start('node0');
    pulls.start('node1');
    await network.queue.run(5_000);
    network.kill(writerOf(pulls));
    await finish(network, pulls);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.1 * SIZE);
  });

  test('clocks that are days apart, and run at other speeds: one writer', async () => {
    const { network, pulls, names, most } = stage(8, { skewed: true });
    for (const name of names) pulls.start(name);
    await finish(network, pulls);
    expect([pulls.requests, most.writers]).toEqual([1, 1]);
  });

  test('the writer is suspended for 20 s: another goes on, and it reads when it is back', async () => {
    const { network, pulls, names } = stage(8);
    for (const name of names) pulls.start(name);
    await network.queue.run(3_000);
    const writer = writerOf(pulls);
    network.suspend(writer, 20_000);
    await finish(network, pulls);
    expect(pulls.requests).toBe(2);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.1 * SIZE);
  });

  test('a rolling restart in a pull asks upstream for next to nothing twice', async () => {
    const { network, pulls, names } = stage(16, { upstreamRate: 40 });
    for (const name of names) pulls.start(name);
    for (const name of names) {
      await network.queue.run(network.queue.now() + 1_200);
      const kept = Math.floor(pulls.pulls.get(name)?.prefix ?? 0);
      network.restart(name);
      pulls.start(name, kept);
    }
    await finish(network, pulls);
    expect(pulls.upstreamBytes).toBeLessThanOrEqual(1.1 * SIZE);
  });
});
