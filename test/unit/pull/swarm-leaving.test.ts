import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections, failureOf, MIB, ORIGIN, settle } from './pull-fixture.ts';
import { bytesOf, digestOf, manual, ScriptedSource } from './scripted-source.ts';
import { startCluster } from './swarm-fixture.ts';

const BYTES = bytesOf(3 * MIB + 7);
const DIGEST = digestOf(BYTES);
const KEY = `blob:${DIGEST}`;

failOnUnhandledRejections();

describe('an answer that is refused before its first byte was taken', () => {
  test('gives back the connection to upstream', async () => {
    const source = new ScriptedSource(manual(BYTES.length).answer);
    const cluster = await startCluster(1, source, BYTES);
    cluster.node(0).descriptors.setSize(ORIGIN, DIGEST, BYTES.length - 1);
    expect(await failureOf(cluster.node(0).pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(source.offsets).toEqual([0]);
    await eventually(() => source.leaked === 0);
  });

  test("gives back the parent's upload", async () => {
    const source = new ScriptedSource(async () => {
      throw new WindlassError('UPSTREAM_UNAVAILABLE', 'down');
    });
    const full = new WindlassError('STORE_UNUSABLE', 'no room');
    const cluster = await startCluster(2, source, BYTES);
    const [child, parent] = [cluster.node(0), cluster.node(1)];
    const writer = await parent.store.create(DIGEST, { sizeBytes: BYTES.length });
    await writer.write([BYTES]);
    await writer.verify();
    await writer.commit();
    await writer.close();
    cluster.keeper.holders.set(KEY, new Set([parent.id]));
    child.store.create = async () => {
      throw full;
    };
    expect(await failureOf(child.pull(DIGEST))).toMatchObject({ code: 'STORE_UNUSABLE' });
    expect(cluster.opened).toHaveLength(1);
    await eventually(() => parent.offers.childrenOf(DIGEST).length === 0);
  });
});

test('a child that left while the blob was being opened for it leaves nothing open', async () => {
  const source = new ScriptedSource(manual(BYTES.length).answer);
  const cluster = await startCluster(1, source, BYTES);
  const node = cluster.node(0);
  const pulling = node.pull(DIGEST);
  pulling.catch(() => {});
  await eventually(() => node.blobs.running().length === 1);
  const left = new AbortController();
  const offer = node.offers.offer(DIGEST, { offset: 0, to: 'peer-00009', replaces: undefined, signal: left.signal });
  left.abort(new Error('the caller left'));
  await offer.catch(() => {});
  await settle();
  expect(node.offers.childrenOf(DIGEST)).toEqual([]);
  expect(node.blobs.running()[0]?.children).toBe(0);
  await node.blobs.stop();
});
