import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { buildImage } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;
const FIRST = 3;
/** In each round: keepers of what is being pulled change. */
const ADDED = 2;
const ROUNDS = 3;

/** As when a cluster is scaled out for what is just being rolled out. */
describeWith('agents that join while the others pull', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let proxy: TcpProxy;
  let cluster: AgentCluster;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    proxy = await TcpProxy.start(scratch, { port: registry.port });
    cluster = await AgentCluster.start(scratch, {
      agents: FIRST,
      registries: { 'docker.io': proxy.url },
    });
  });
  afterAll(() => scratch?.dispose());

  it('pull at once, too: upstream gives each blob once, twice at most', async () => {
    for (let round = 1; round <= ROUNDS; round += 1) {
      const layerBytes = Array.from({ length: 6 }, () => 10 * MIB);
      const image = buildImage({ seed: `joining ${round}`, layerBytes, gzip: false, index: false });
      await pushImage(registry.url, 'library/joining', `v${round}`, image);
      await registry.forget();
      // Nearly nothing, until they have joined.
      proxy.rateBytesPerSecond = MIB;
      const pull = (agent: AgentProcess) => pullImage(agent, 'library/joining', image.top.digest, image);
      const pulls = cluster.agents.map(pull);
      for (let added = 0; added < ADDED; added += 1) pulls.push(pull(await cluster.add()));
      expect(await cluster.metric('windlass_ingests_running')).toBeGreaterThan(0);
      proxy.rateBytesPerSecond = 20 * MIB;
      expect((await Promise.all(pulls)).flatMap(({ faults }) => faults)).toEqual([]);
      const counts = Object.values(await registry.counts());
      expect(counts).toHaveLength(image.blobs.length + 1);
      // A new keeper asks those before it, for 250 ms: on a machine that is busier than that it may grant a second right.
      expect(Math.max(...counts)).toBeLessThanOrEqual(2);
      const all = counts.reduce((sum, count) => sum + count, 0);
      expect(all).toBeLessThanOrEqual(1.5 * counts.length);
    }
  }, 300_000);
});
