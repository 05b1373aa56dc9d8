import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentStatus } from '../../src/status/agent-status.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { buildImage } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const AGENTS = 5;
const MIB = 1024 * 1024;
/** A tree of two would need twice what a node can send: where upstream gives as much, blobs go from node to node. */
const UPLINK = 16 * MIB;
const LAYERS = 3;
const LAYER_BYTES = 24 * MIB;

describeWith(`${AGENTS} agents that send no more than upstream gives`, [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let cluster: AgentCluster;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    cluster = await AgentCluster.start(scratch, {
      agents: AGENTS,
      registries: { 'docker.io': registry.url },
      settings: { peer: { uploadRate: `${UPLINK / MIB}MiB` }, tags: { maxAge: '1h' } },
    });
    // What an earlier pull has taught them.
    for (const agent of cluster.agents) {
      await agent.kill();
      await writeFile(join(agent.storePath, 'rates.json'), JSON.stringify({ 'docker.io': UPLINK }));
    }
    await Promise.all(cluster.agents.map((agent) => agent.start()));
    await cluster.settled();
  });
  afterAll(() => scratch?.dispose());

  /** What each agent says of itself. */
  function statuses(): Promise<AgentStatus[]> {
    return Promise.all(
      cluster.agents.map(async ({ statusPort }) => {
        const answer = await fetch(`http://127.0.0.1:${statusPort}/status`);
        return (await answer.json()) as AgentStatus;
      }),
    );
  }

  it('read every blob in one order, that of one ring: each sends to one other, of all blobs to the same', async () => {
    const image = buildImage({
      seed: 'chains',
      layerBytes: Array.from({ length: LAYERS }, () => LAYER_BYTES),
      gzip: false,
    });
    await pushImage(registry.url, 'library/chains', 'v1', image);
    await registry.forget();
    const layers = new Set<string>(image.layers.map(({ digest }) => digest));
    /** By blob: the longest way from its writer that was seen last. */
    const orders = new Map<string, readonly string[]>();
    let done = false;
    const pulls = Promise.all(cluster.agents.map((agent) => pullImage(agent, 'library/chains', 'v1', image))).finally(
      () => {
        done = true;
      },
    );
    while (!done) {
      for (const { node, transfers } of await statuses()) {
        for (const { digest, path } of transfers) {
          if (!layers.has(digest)) continue;
          if (path.length >= (orders.get(digest)?.length ?? 0) - 1) orders.set(digest, [...path, node]);
        }
      }
      await sleep(20);
    }
    expect((await pulls).flatMap(({ faults }) => faults)).toEqual([]);
    expect([...orders.values()].map((order) => order.length)).toEqual(Array.from({ length: LAYERS }, () => AGENTS));
    const rings = [...orders.values()].map((order) => fromNode0(order));
    expect(new Set(rings.map((ring) => ring.join(' '))).size).toBe(1);
    const counts = await registry.counts();
    expect(image.layers.map(({ digest }) => counts[`GET blob ${digest}`])).toEqual(image.layers.map(() => 1));
  });
});

/** A ring has no beginning. */
function fromNode0(order: readonly string[]): string[] {
  const at = order.indexOf('node-0');
  return [...order.slice(at), ...order.slice(0, at)];
}
