import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import { buildImage } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;
const FIRST = 3;
const MORE = 6;

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
      settings: { log: { level: 'debug' } },
    });
  });
  afterAll(() => scratch?.dispose());

  for (const round of [1, 2, 3])
    it('pull at once, too: upstream gives each blob once', async () => {
      const image = buildImage({
        seed: `joining ${round}`,
        layerBytes: Array.from({ length: 6 }, () => 10 * MIB),
        gzip: false,
        index: false,
      });
      await pushImage(registry.url, 'library/joining', `v${round}`, image);
      await registry.forget();
      proxy.rateBytesPerSecond = 10 * MIB;
      const pulls = cluster.agents.map((agent) => pullImage(agent, 'library/joining', image.top.digest, image));
      for (let added = 0; added < MORE / 3; added += 1) {
        const agent = await cluster.add();
        pulls.push(pullImage(agent, 'library/joining', image.top.digest, image));
      }
      expect((await Promise.all(pulls)).flatMap(({ faults }) => faults)).toEqual([]);
      const counts = await registry.counts();
      console.log(counts);
      expect(Object.values(counts).every((count) => count === 1)).toBe(true);
    }, 120_000);
});
