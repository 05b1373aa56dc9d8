import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import { buildImage } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith, ipv6Missing } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;

describeWith('agents that speak IPv6 to each other', [RealRegistry.missing, ipv6Missing], () => {
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  for (const encryption of ['tls', 'none']) {
    it(`find each other, and upstream gives each blob once (peer.encryption: ${encryption})`, async () => {
      const registry = await RealRegistry.start(scratch);
      const cluster = await AgentCluster.start(scratch, {
        agents: 3,
        family: 6,
        registries: { 'docker.io': registry.url },
        settings: { tags: { maxAge: '1h' }, peer: { encryption } },
      });
      const image = buildImage({ seed: `ipv6 ${encryption}`, layerBytes: [5 * MIB, 2 * MIB, 40_000], gzip: false });
      await pushImage(registry.url, 'library/six', 'v1', image);
      await registry.forget();

      const pulls = await Promise.all(cluster.agents.map((agent) => pullImage(agent, 'library/six', 'v1', image)));

      expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
      const counts = await registry.counts();
      for (const { digest } of image.blobs) expect(counts[`GET blob ${digest}`], digest).toBe(1);
      expect(await cluster.metric('windlass_ingest_received_bytes_total', { source: 'peer' })).toBeGreaterThan(5 * MIB);
      for (const agent of cluster.agents) await agent.stop();
    });
  }
});
