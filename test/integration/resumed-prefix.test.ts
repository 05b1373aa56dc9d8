import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { buildImage, type Image, type ImageBlob } from '../support/image.ts';
import { ProxiedAgents } from '../support/proxied-agents.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { type LoggedRequest, RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const LAYER_BYTES = 96 * MIB;
/** Where the first agent is killed. */
const KEPT_BYTES = 56 * MIB;
/** What another one has when the first one comes back. */
const ANOTHERS_BYTES = 8 * MIB;
/** Slow enough that little more comes while an agent starts. */
const UPSTREAM_RATE = 2 * MIB;

describeWith(
  'an agent that is killed in the middle of a layer, and comes back while another writes it',
  [RealRegistry.missing],
  () => {
    let scratch: Scratch;
    let registry: RealRegistry;
    let agents: ProxiedAgents;

    beforeAll(async () => {
      scratch = await Scratch.create();
      registry = await RealRegistry.start(scratch);
      agents = await ProxiedAgents.start(scratch, registry, { agents: 3 });
    });
    afterAll(() => scratch?.dispose());

    /** @returns what upstream sent before it pulled again, and the pulls of the others, which run. */
    async function comesBack(repository: string, whileItIsDead: (layer: ImageBlob) => Promise<void> = async () => {}) {
      const { cluster, uplink } = agents;
      const image = buildImage({ seed: repository, layerBytes: [LAYER_BYTES], gzip: false });
      await pushImage(registry.url, repository, 'v1', image);
      await registry.forget();
      const [layer] = image.layers;
      if (layer === undefined) throw new Error('a layer was asked for');
      const first = cluster.agent(0);
      uplink.stallAfter(KEPT_BYTES + MIB);
      const killed = pullImage(first, repository, 'v1', image);
      await agents.underWay(layer.digest, KEPT_BYTES, [0]);
      await first.kill('SIGKILL');
      expect((await killed).faults).not.toEqual([]);
      await cluster.settled(1, [cluster.agent(1), cluster.agent(2)]);
      await whileItIsDead(layer);
      uplink.resume();
      uplink.rateBytesPerSecond = UPSTREAM_RATE;
      const others = [1, 2].map((i) => pullImage(cluster.agent(i), repository, 'v1', image));
      await agents.underWay(layer.digest, ANOTHERS_BYTES, [1, 2]);
      await first.start();
      await cluster.settled(2);
      return { image, layer, others, sentBytes: uplink.downBytes, before: await takeovers() };
    }

    /** How often one that came back became the writer, by those that run. */
    const takeovers = () => agents.cluster.metric('windlass_takeovers_total', { reason: 'shorter' });

    /** Resolves when the first one, which has just claimed, is the writer. */
    async function takesOver({ before }: { readonly before: number }): Promise<void> {
      await eventually(async () => (await takeovers()) > before, { what: 'the right to write to pass on' });
    }

    async function getsOf({ digest }: ImageBlob): Promise<LoggedRequest[]> {
      const requests = await registry.requests();
      return requests.filter(({ method, path }) => method === 'GET' && path.endsWith(digest));
    }

    async function pullsWhole(repository: string, image: Image): Promise<void> {
      for (const agent of agents.cluster.agents) {
        await eventually(async () => (await pullImage(agent, repository, 'v1', image)).faults.length === 0, {
          timeoutMs: 60_000,
        });
      }
    }

    it('writes on from where it was: upstream gives what neither has', async () => {
      const { cluster, uplink } = agents;
      const repository = 'library/longer';
      const { image, layer, others, sentBytes, before } = await comesBack(repository);

      const pull = pullImage(cluster.agent(0), repository, 'v1', image);
      await takesOver({ before });
      uplink.rateBytesPerSecond = undefined;
      const pulls = await Promise.all([pull, ...others]);

      expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
      // And what was on its way to the other one.
      expect(uplink.downBytes - sentBytes).toBeLessThanOrEqual(LAYER_BYTES - KEPT_BYTES + 4 * MIB);
      expect((await getsOf(layer)).map(({ status }) => status)).toEqual([200, 200, 206]);
    });

    it('with a file that went wrong meanwhile: all drop it, nobody is blamed, and upstream gives it once from 0', async () => {
      const { cluster, uplink } = agents;
      const repository = 'library/poisoned';
      const { image, layer, others, before } = await comesBack(repository, async ({ digest }) => {
        const folder = join(cluster.agent(0).storePath, 'ingests');
        const name = (await readdir(folder)).find((one) => one.includes(digest.slice('sha256:'.length)));
        const file = await open(join(folder, name ?? ''), 'r+');
        await file.write(Buffer.from('this is not what was here'), 0, undefined, 40 * MIB);
        await file.close();
      });

      const pull = pullImage(cluster.agent(0), repository, 'v1', image);
      await takesOver({ before });
      uplink.rateBytesPerSecond = undefined;
      await Promise.all([pull, ...others]);

      await pullsWhole(repository, image);
      expect((await getsOf(layer)).map(({ status }) => status)).toEqual([200, 200, 206, 200]);
      expect(await cluster.metric('windlass_peer_blamed_total', { reason: 'wrong' })).toBe(0);
    });
  },
);
