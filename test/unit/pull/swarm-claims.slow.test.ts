import { afterEach, describe, expect, test } from 'vitest';
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

async function start(nodes: number, source: ScriptedSource, bytes: Uint8Array): Promise<PullCluster> {
  const cluster = await startCluster(nodes, source, bytes, { network: new MemoryCalls() });
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
