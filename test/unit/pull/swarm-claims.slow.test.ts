import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Kademlia } from '../../../src/routing/kademlia.ts';
import { eventually } from '../../support/eventually.ts';
import { MemoryCalls } from '../../support/memory-calls.ts';
import { failOnUnhandledRejections, failureOf, MIB, ORIGIN } from './pull-fixture.ts';
import { bytesOf, digestOf, ScriptedSource, whole } from './scripted-source.ts';
import { blamed, type PullCluster, startCluster, Tap, wholePieces, writtenBy } from './swarm-fixture.ts';

/** With the real claims: every node is a keeper of its share of the keys. */
const clusters: PullCluster[] = [];

failOnUnhandledRejections();
afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.stop();
});

async function start(
  nodes: number,
  source: ScriptedSource,
  bytes: Uint8Array,
  network = new MemoryCalls(),
): Promise<PullCluster> {
  const cluster = await startCluster(nodes, source, bytes, { network });
  clusters.push(cluster);
  return cluster;
}

/** Other bytes have other keepers. */
const blobs = [1, 2].map((seed) => bytesOf(4 * MIB + 4_321, seed));

describe.each(blobs.map((bytes, i) => [i, bytes, digestOf(bytes)] as const))('blob %i', (_, bytes, digest) => {
  test('8 nodes at once: one GET upstream, right bytes everywhere; later ones read from holders', async () => {
    const source = new ScriptedSource(whole(bytes));
    const cluster = await start(9, source, bytes);
    const got = await Promise.all(cluster.nodes.slice(0, 8).map((node) => node.pull(digest)));
    for (const one of got) expect(one.equals(bytes)).toBe(true);
    expect((await cluster.node(8).pull(digest)).equals(bytes)).toBe(true);
    expect(source.offsets).toEqual([0]);
    for (const node of cluster.nodes) expect(await blamed(node)).toEqual({});
  });

  test.each([10, 50, 90])('the writer dies at %i per cent: one successor, at its prefix', async (percent) => {
    const tap = new Tap(bytes);
    const cluster = await start(8, tap.source, bytes);
    const pulls = cluster.nodes.map((node) => node.pull(digest));
    for (const pull of pulls) pull.catch(() => {});
    await eventually(() => cluster.opened.length === 7);
    const at = Math.floor((bytes.length * percent) / 100);
    tap.open(at);
    const has = (written: number) => cluster.nodes.filter((node) => writtenBy(node) === written).length;
    await eventually(() => has(wholePieces(at)) === 7 && has(at) === 1);
    const writer = cluster.nodes.findIndex((node) => writtenBy(node) === at);
    await cluster.kill(cluster.node(writer));
    await eventually(() => tap.source.offsets.length === 2);
    tap.open();
    const got = await Promise.all(pulls.filter((_, i) => i !== writer));
    for (const one of got) expect(one.equals(bytes)).toBe(true);
    expect(tap.source.offsets).toEqual([0, wholePieces(at)]);
    await failureOf(pulls[writer] ?? Promise.resolve());
  });

  test('two die, one after another, in the middle of it', async () => {
    const tap = new Tap(bytes);
    const cluster = await start(8, tap.source, bytes);
    const pulls = cluster.nodes.map((node) => node.pull(digest));
    for (const pull of pulls) pull.catch(() => {});
    tap.open(1.125 * MIB);
    await eventually(() => cluster.nodes.filter((node) => writtenBy(node) >= MIB).length === 8);
    await cluster.kill(cluster.node(0));
    tap.open(2.125 * MIB);
    await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) >= 2 * MIB));
    await cluster.kill(cluster.node(1));
    tap.open();
    for (const one of await Promise.all(pulls.slice(2))) expect(one.equals(bytes)).toBe(true);
    expect(tap.sent).toBeLessThanOrEqual(bytes.length + 2 * MIB);
    for (const pull of pulls.slice(0, 2)) await failureOf(pull);
  });
});

test('a small blob and a 404 travel by claims', async () => {
  const small = bytesOf(3_000, 9);
  const source = new ScriptedSource(whole(small));
  const cluster = await start(8, source, small);
  const got = await Promise.all(cluster.nodes.map((node) => node.pull(digestOf(small))));
  for (const one of got) expect(one.equals(small)).toBe(true);
  expect(source.offsets).toEqual([0]);
  expect(source.openings[0]?.origin).toEqual(ORIGIN);
  expect(cluster.opened).toEqual([]);
});

describe('by a simulated clock,', () => {
  const [bytes = bytesOf(1)] = blobs;
  const digest = digestOf(bytes);
  const key = `blob:${digest}`;
  const NODES = 12;
  /** Of all bounds together; containerd 2.3 waits 30 s. */
  const LIMIT_MS = 25_000;

  /** Nearest to the blob first: three keepers, those behind them, and last one that is far. */
  async function stage() {
    const network = new MemoryCalls();
    const source = new ScriptedSource(whole(bytes));
    vi.useFakeTimers();
    const cluster = await start(NODES, source, bytes, network);
    const ring = new Kademlia();
    ring.replace(cluster.nodes.map(({ id }) => id));
    const near = ring.closest(key, NODES).map((peerId) => cluster.of(peerId));
    const client = near.at(-1);
    if (client === undefined) throw new Error('no client');
    return { network, source, cluster, client, near };
  }

  /** Simulated, from the client's question on. */
  async function msUntil(isSo: () => boolean, pull: () => Promise<Buffer>, stepMs = 100): Promise<number> {
    const startMs = performance.now();
    const pulled = pull();
    pulled.catch(() => {});
    while (!isSo() && performance.now() < startMs + 10 * LIMIT_MS) await vi.advanceTimersByTimeAsync(stepMs);
    const ms = performance.now() - startMs;
    vi.useRealTimers();
    expect((await pulled).equals(bytes)).toBe(true);
    return ms;
  }

  /** From the client's question to upstream's. */
  function msUntilUpstream(source: ScriptedSource, pull: () => Promise<Buffer>): Promise<number> {
    const before = source.offsets.length;
    return msUntil(() => source.offsets.length > before, pull);
  }

  afterEach(() => void vi.useRealTimers());

  test('where most hold it no more it is found elsewhere, and nothing is waited for', async () => {
    const { source, cluster, client, near } = await stage();
    // The first of them wrote it, and vouched for its pieces: the others pass that on.
    const holders = near.slice(3, 7);
    /** Disks and workers take real time, in which this clock all but stands still. */
    const until = async (isSo: () => boolean, realMs: number) => {
      for (; !isSo(); await vi.advanceTimersByTimeAsync(1)) await setTimeout(realMs);
    };
    for (const { store, pull } of holders) {
      const pulled = pull(digest);
      await until(() => store.stat(digest) !== undefined, 1);
      await pulled;
      // Their keeper hears of one after the other, and names them in that order.
      await vi.advanceTimersByTimeAsync(3_000);
    }
    // They say nothing of it, as one that has lost its disk.
    const [lasting, ...stale] = holders.reverse();
    for (const { store } of stale) expect(await store.delete(digest)).toBe(true);
    const pulled = client.pull(digest);
    const startMs = performance.now();
    const before = cluster.opened.length;
    await until(() => cluster.opened.slice(before).some(({ to }) => to === lasting?.id), 100);
    expect(performance.now() - startMs).toBeLessThan(100);
    expect(await blamed(client)).toEqual({ missing: 3 });
    expect((await pulled).equals(bytes)).toBe(true);
    expect(source.offsets).toEqual([0]);
  });

  test.each([0, 1, 2, 3, NODES - 1])('silent: all that hold it, and %i that keep it or are next to', async (silent) => {
    const { network, source, client, near } = await stage();
    const holders = near.slice(3, -1);
    const name = await client.swarm.sourceOf(ORIGIN);
    for (const { swarm } of holders) swarm.claims.held(key, name, { sizeBytes: bytes.length });
    await vi.advanceTimersByTimeAsync(3_000);
    for (const holder of holders) holder.serve = () => new Promise(() => {});
    for (const { id } of near.slice(0, silent)) network.hang(id);
    const ms = await msUntilUpstream(source, () => client.pull(digest));
    expect(ms).toBeLessThan(LIMIT_MS);
    // It was not for want of somebody to read from.
    if (silent < 3) expect(await blamed(client)).toHaveProperty('silent');
  });

  test.each([0, 1, 2, 3, NODES - 1])(
    'silent: all that write it or read it, and %i that keep it or are next to',
    async (silent) => {
      const { network, source, cluster, client, near } = await stage();
      const { answer } = source;
      const gate = Promise.withResolvers<void>();
      source.answer = async (opening) => {
        if (opening.index === 0) await gate.promise;
        return answer(opening);
      };
      const pulls = near.slice(3, -1).map((node) => node.pull(digest));
      await vi.advanceTimersByTimeAsync(3_000);
      expect(cluster.opened).toHaveLength(pulls.length - 1);
      // Whom they let in is served; who comes now is not.
      for (const node of near) node.serve = () => new Promise(() => {});
      for (const { id } of near.slice(0, silent)) network.hang(id);
      const ms = await msUntilUpstream(source, () => client.pull(digest));
      gate.resolve();
      await Promise.all(pulls);
      expect(ms).toBeLessThan(LIMIT_MS);
    },
  );
});
