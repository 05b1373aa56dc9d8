import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { buildImage } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const AGENTS = 5;
const IMAGES = 6;
const PULLS = 100;

/** Each store has room for two of six images: what an agent said that it holds is gone at any time. */
describeWith('agents whose stores are too small', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let cluster: AgentCluster;
  const images = Array.from({ length: IMAGES }, (_, index) => ({
    repository: `library/small-${index}`,
    image: buildImage({ seed: `small ${index}`, layerBytes: [4 * MIB, 2 * MIB, 900_000], gzip: false, index: false }),
  }));

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    for (const { repository, image } of images) await pushImage(registry.url, repository, 'v1', image);
    cluster = await AgentCluster.start(scratch, {
      agents: AGENTS,
      registries: { 'docker.io': registry.url },
      settings: { store: { maxSize: '15MiB' }, log: { level: 'debug' } },
    });
  });
  afterAll(() => scratch?.dispose());

  async function onDisk(agent: AgentProcess): Promise<ReadonlySet<string>> {
    const root = join(agent.storePath, 'blobs', 'sha256');
    const folders = await readdir(root).catch(() => []);
    const names = await Promise.all(folders.map((folder) => readdir(join(root, folder))));
    return new Set(names.flat().map((name) => `sha256:${name}`));
  }

  /** A keeper hears of what a reader holds within a second: who asks before may be sent upstream. */
  function heldSaid(digest: Digest): boolean {
    const logs = cluster.agents.flatMap((agent) => agent.logs());
    const got = logs.filter((line) => line.state === 'committed' && line.digest === digest);
    const said = logs.filter(({ msg, key }) => msg === 'held' && key === `blob:${digest}`);
    return said.length >= got.length;
  }

  /** The same order each time. */
  function* choices(): Generator<number> {
    for (let state = 7; ; ) {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      yield state >> 8;
    }
  }

  const pick = choices();
  const next = (below: number) => Number(pick.next().value) % below;

  it('one pull after another: what any other has on its disk is not asked for upstream', async () => {
    let fromPeers = 0;
    for (let nth = 0; nth < PULLS; nth += 1) {
      const puller = next(AGENTS);
      const { image, repository } = images[next(IMAGES)] as (typeof images)[number];
      const others = await Promise.all(
        cluster.agents.filter((_, index) => index !== puller).map((agent) => onDisk(agent)),
      );
      const there = image.blobs.filter(({ digest }) => others.some((disk) => disk.has(digest)) && heldSaid(digest));
      await registry.forget();
      expect((await pullImage(cluster.agent(puller), repository, image.top.digest, image)).faults).toEqual([]);
      const counts = await registry.counts();
      const asked = there.filter(({ digest }) => counts[`GET blob ${digest}`] !== undefined);
      expect(asked, `pull ${nth}; the agent said:\n${cluster.agent(puller).daemon.tail()}`).toEqual([]);
      fromPeers += there.length;
    }
    expect(fromPeers).toBeGreaterThan(PULLS);
    // Some had been sent to agents that had it no more, or nothing of this was tried.
    expect(await cluster.metric('windlass_peer_blamed_total', { reason: 'missing' })).toBeGreaterThan(0);
  }, 300_000);

  it('all at once, each another image or the same: every one is whole', async () => {
    for (let round = 0; round < 6; round += 1) {
      const pulls = await Promise.all(
        cluster.agents.map((agent) => {
          const { image, repository } = images[next(IMAGES)] as (typeof images)[number];
          return pullImage(agent, repository, image.top.digest, image);
        }),
      );
      expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    }
  }, 300_000);
});
