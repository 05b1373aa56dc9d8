import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections, MIB, ORIGIN } from './pull-fixture.ts';
import { type Answer, bytesOf, digestOf, ScriptedSource, whole } from './scripted-source.ts';
import { type ClusterOptions, PullCluster } from './swarm-fixture.ts';

const BYTES = bytesOf(5 * MIB + 77_777);
const DIGEST = digestOf(BYTES);
const KEY = `blob:${DIGEST}`;

failOnUnhandledRejections();

async function start(nodes: number, answer: Answer = whole(BYTES), options: Partial<ClusterOptions> = {}) {
  const source = new ScriptedSource(answer);
  const cluster = await PullCluster.start({
    nodes,
    client: {
      getBlob: (_, digest, { offset = 0, ...rest }) => source.open(ORIGIN, digest, { offset, ...rest }),
    },
    ...options,
  });
  for (const node of cluster.nodes) node.descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
  return { cluster, source };
}

describe('one writer, the others read from each other', () => {
  test.each([1, 2, 8])('%i nodes ask at once: one GET upstream, right bytes everywhere', async (nodes) => {
    const { cluster, source } = await start(nodes);
    const got = await Promise.all(cluster.nodes.map((node) => node.pull(DIGEST)));
    for (const bytes of got) expect(bytes.equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
    expect(source.leaked).toBe(0);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === nodes);
    for (const { store } of cluster.nodes) expect(store.stat(DIGEST)?.sizeBytes).toBe(BYTES.length);
  });
});
