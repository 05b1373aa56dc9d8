import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage, type Image } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const AGENTS = 4;
const MIB = 1024 * 1024;

describeWith(`${AGENTS} agents, one registry`, [RealRegistry.missing], () => pullOnce({ gossip: true }));
// It makes things faster, and is not needed for them to be right.
describeWith(`${AGENTS} agents, one registry, and all gossip is lost`, [RealRegistry.missing], () =>
  pullOnce({ gossip: false }),
);

function pullOnce({ gossip }: { readonly gossip: boolean }): void {
  let scratch: Scratch;
  let registry: RealRegistry;
  let cluster: AgentCluster;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    cluster = await AgentCluster.start(scratch, {
      agents: AGENTS,
      gossip,
      registries: { 'docker.io': registry.url },
      // However long a test takes: a tag is asked for once.
      settings: { tags: { maxAge: '1h' } },
    });
  });
  afterAll(() => scratch?.dispose());

  async function publish(repository: string, seed: string, layerBytes: readonly number[]): Promise<Image> {
    const image = buildImage({ seed, layerBytes, gzip: false, index: true });
    await pushImage(registry.url, repository, 'v1', image);
    await registry.forget();
    return image;
  }

  /** One request each, by GET; a tag by HEAD. */
  function once(image: Image, tags: readonly string[]): Record<string, number> {
    const all = [...image.blobs.map(({ digest }) => `GET blob ${digest}`)];
    for (const manifest of [image.manifest, image.index]) {
      if (manifest !== undefined) all.push(`GET manifest ${manifest.digest}`);
    }
    return Object.fromEntries([...all, ...tags.map((tag) => `HEAD manifest ${tag}`)].map((what) => [what, 1]));
  }

  it('all pull an image at once: upstream is asked once for each blob, manifest and tag', async () => {
    const image = await publish('library/one', 'one', [9 * MIB, 5 * MIB, 3 * MIB, 40_000, 200]);
    const pulls = await Promise.all(cluster.agents.map((agent) => pullImage(agent, 'library/one', 'v1', image)));
    expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    expect(await registry.counts()).toEqual(once(image, ['v1']));
  });

  it('half ask by tag and half by digest: still once', async () => {
    const image = await publish('library/two', 'two', [6 * MIB, 2 * MIB]);
    const pulls = await Promise.all(
      cluster.agents.map((agent, index) =>
        pullImage(agent, 'library/two', index % 2 === 0 ? 'v1' : image.top.digest, image),
      ),
    );
    expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    expect(await registry.counts()).toEqual(once(image, ['v1']));
  });

  it('one pulls, then the others: everything comes from it', async () => {
    const image = await publish('library/three', 'three', [4 * MIB, 3 * MIB]);
    const [first, ...others] = cluster.agents;
    if (first === undefined) throw new Error('no agents');
    expect((await pullImage(first, 'library/three', 'v1', image)).faults).toEqual([]);
    await registry.forget();
    for (const agent of others) expect((await pullImage(agent, 'library/three', 'v1', image)).faults).toEqual([]);
    expect(await registry.counts()).toEqual({});
  });

  it('with the registry gone a new agent pulls by tag and by digest what others hold', async () => {
    const image = await publish('library/four', 'four', [2 * MIB, 30_000]);
    expect((await pullImage(cluster.agent(0), 'library/four', 'v1', image)).faults).toEqual([]);
    await registry.stop();
    const added = await cluster.add();
    await cluster.settled();
    // Where nobody was heard in time there is no registry to ask instead: a client tries again.
    const pulls = async (agent: AgentProcess, reference: string) => {
      let faults: readonly string[] = [];
      const whole = async () => {
        ({ faults } = await pullImage(agent, 'library/four', reference, image));
        return faults.length === 0;
      };
      await eventually(whole, { timeoutMs: 60_000, everyMs: 500, what: () => `a pull; the last: ${faults.join()}` });
    };
    await pulls(added, 'v1');
    await pulls(cluster.agent(1), image.top.digest);
  });

  it('all restarted at once: the index becomes whole again, and a new agent finds everything at the others', async () => {
    const image = buildImage({
      seed: 'one',
      layerBytes: [9 * MIB, 5 * MIB, 3 * MIB, 40_000, 200],
      gzip: false,
      index: true,
    });
    await Promise.all(cluster.agents.map((agent) => agent.kill()));
    await Promise.all(cluster.agents.map((agent) => agent.start()));
    const added = await cluster.add();
    await cluster.settled();
    await eventually(async () => (await pullImage(added, 'library/one', image.top.digest, image)).faults.length === 0, {
      timeoutMs: 150_000,
      what: () => `the index to be whole; the new agent said:\n${added.daemon.tail()}`,
    });
  }, 400_000);
}
