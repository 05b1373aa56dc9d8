import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readStatus } from '../../src/status/status-client.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage, type Image } from '../support/image.ts';
import { type Place, ProxiedAgents } from '../support/proxied-agents.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;
/** So that somebody relays, with two children to a node. */
const AGENTS = 4;
const LAYER_BYTES = 24 * MIB;
/** Where upstream is held up until all have begun. */
const BEGUN_BYTES = 8 * MIB;
/** Slow enough that what is lost while the right to write passes on is little. */
const UPSTREAM_RATE = 6 * MIB;

describeWith('agents that reach each other through proxies', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let agents: ProxiedAgents;
  let nth = 0;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
  });
  beforeEach(() => registry.forget());
  afterEach(() => agents.mend());
  afterAll(() => scratch?.dispose());

  async function publish(repository: string, layerBytes: readonly number[]): Promise<Image> {
    const image = buildImage({ seed: repository, layerBytes, gzip: false, index: true });
    await pushImage(registry.url, repository, 'v1', image);
    await registry.forget();
    return image;
  }

  /** @returns what did not come, or came wrong. */
  async function pullAll(repository: string, image: Image, of = agents.cluster.agents): Promise<readonly string[]> {
    const pulls = of.map((agent) => pullImage(agent, repository, 'v1', image));
    return (await Promise.all(pulls)).flatMap(({ faults }) => faults);
  }

  /** How often upstream was asked for each blob: the config, then the layers. */
  async function getsOf(image: Image): Promise<number[]> {
    const counts = await registry.counts();
    return image.blobs.map(({ digest }) => counts[`GET blob ${digest}`] ?? 0);
  }

  async function pullsOnce(repository: string): Promise<Image> {
    const image = await publish(repository, [9 * MIB, 5 * MIB, 3 * MIB, 40_000, 200]);
    expect(await pullAll(repository, image)).toEqual([]);
    expect(await getsOf(image)).toEqual(image.blobs.map(() => 1));
    return image;
  }

  describe(`${AGENTS} of them`, () => {
    beforeAll(async () => {
      agents = await ProxiedAgents.start(scratch, registry, { agents: AGENTS });
    });
    afterAll(() => Promise.all(agents.cluster.agents.map((agent) => agent.stop())));

    it('are where they say that they are, and nowhere else', async () => {
      const { cluster, data, p2p } = agents;
      const announced = cluster.agents.map((_, index) => ({
        nodeName: `node-${index}`,
        dataAddress: `127.0.0.1:${data[index]?.port}`,
        p2pAddresses: [`/ip4/127.0.0.1/tcp/${p2p[index]?.port}`],
      }));
      for (const [index, { statusUrl }] of cluster.agents.entries()) {
        const status = await readStatus(statusUrl, AbortSignal.timeout(60_000));
        expect(status.peers).toMatchObject(announced.filter((_, other) => other !== index));
        // Its own address is among those of discovery, and it has found out that it is its own.
        expect(status.unmet).toEqual([]);
      }
      // Those that discovery names; the last one dialled them.
      for (const { downBytes } of p2p.slice(0, 3)) expect(downBytes).toBeGreaterThan(0);
    });

    it('upstream gives each blob once, and what they have from each other went through the proxies', async () => {
      const { cluster, data } = agents;
      const passed = () => data.reduce((sum, { downBytes }) => sum + downBytes, 0);
      const received = () => cluster.metric('windlass_peer_received_bytes_total');
      const [passedBefore, receivedBefore] = [passed(), await received()];
      const image = await pullsOnce('library/once');
      const large = image.layers.reduce((sum, { bytes }) => sum + (bytes.length > MIB ? bytes.length : 0), 0);
      const receivedBytes = (await received()) - receivedBefore;
      expect(receivedBytes).toBeGreaterThanOrEqual((AGENTS - 1) * large);
      expect(passed() - passedBefore).toBeGreaterThanOrEqual(receivedBytes);
    });

    /**
     * All pull, or some; and when they are in the middle of the layer, something is done to the data plane of
     * one of them. Unless upstream is to be fast, it stops once more, until that one was left for one of these reasons.
     * @returns how often upstream was asked, and how much it sent, as a share of the image.
     */
    async function pullDespite(
      role: Place['role'],
      fault: (agent: TcpProxy) => void,
      reasons: readonly ('broken' | 'silent' | 'slow')[],
      { pulling = agents.cluster.agents.map((_, index) => index), fast = false } = {},
    ): Promise<{ gets: number[]; share: number }> {
      const { uplink, cluster, data } = agents;
      const repository = `library/${role}-${nth++}`;
      const image = await publish(repository, [LAYER_BYTES]);
      const [layer] = image.layers;
      if (layer === undefined) throw new Error('a layer was asked for');
      const countLeft = async () => {
        const counts = reasons.map((reason) => cluster.metric('windlass_peer_blamed_total', { reason }));
        return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
      };
      const [sentBefore, leftBefore] = [uplink.downBytes, await countLeft()];
      uplink.stallAfter(BEGUN_BYTES);
      const pulls = pullAll(
        repository,
        image,
        pulling.map((index) => cluster.agent(index)),
      );
      const places = await agents.underWay(layer.digest, BEGUN_BYTES - MIB, pulling);
      const proxy = data[places.find((one) => one.role === role)?.agent ?? -1];
      if (proxy === undefined) throw new Error(`no ${role} among ${JSON.stringify(places)}`);
      fault(proxy);
      uplink.resume();
      if (!fast) {
        uplink.rateBytesPerSecond = UPSTREAM_RATE;
        uplink.stallAfter(BEGUN_BYTES);
      }
      await eventually(async () => (await countLeft()) > leftBefore, { what: `a ${role} to be left` });
      uplink.resume();
      expect(await pulls).toEqual([]);
      return { gets: await getsOf(image), share: (uplink.downBytes - sentBefore) / image.totalBytes };
    }

    for (const kind of ['reset', 'fin'] as const) {
      it(`a connection to a relay is cut (${kind}): the child goes on elsewhere, upstream is not asked`, async () => {
        const { gets, share } = await pullDespite('relay', (proxy) => proxy.cutAfter(MIB / 2, kind), ['broken']);
        expect(gets).toEqual([1, 1]);
        expect(share).toBeLessThan(1.01);
      });

      it(`a connection to the writer is cut (${kind}): its child writes on, from where it is`, async () => {
        const { gets, share } = await pullDespite('writer', (proxy) => proxy.cutAfter(MIB / 2, kind), ['broken']);
        expect(gets).toEqual([1, 2]);
        expect(share).toBeLessThanOrEqual(1.1);
      });
    }

    const freeze = (proxy: TcpProxy) => proxy.freezeAfter(MIB / 2);
    for (const [by, pulling] of [
      ['writes still', [0, 1]],
      // Others, as who is silent twice within half a minute is not asked again.
      ['has all of it by then', [2, 3]],
    ] as const) {
      it(`the connection to the only other one that pulls freezes, which ${by}: a new one is made`, async () => {
        const how = { pulling: [...pulling], fast: by !== 'writes still' };
        const { gets, share } = await pullDespite('writer', freeze, ['silent', 'slow'], how);
        expect(gets).toEqual([1, 1]);
        expect(share).toBeLessThan(1.01);
      });
    }

    it('a connection to a relay freezes: the child goes on elsewhere, upstream is not asked', async () => {
      const { gets, share } = await pullDespite('relay', freeze, ['silent', 'slow']);
      expect(gets).toEqual([1, 1]);
      expect(share).toBeLessThan(1.01);
    });
  });

  it('three of them, 50 ms from each other: upstream gives each blob once', async () => {
    agents = await ProxiedAgents.start(scratch, registry, { agents: 3, latencyMs: 50 });
    await pullsOnce('library/far');
  });
});
