import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { Containerd } from '../support/containerd.ts';
import { Cri } from '../support/cri.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { eventually } from '../support/eventually.ts';
import { writeHostsToml } from '../support/hosts-toml.ts';
import { httpGet } from '../support/http-get.ts';
import { buildImage, digestOf, type Image } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { REGISTRY_PASSWORD, REGISTRY_USER, RealRegistry } from '../support/real-registry.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;
const LONG = { timeoutMs: 120_000, everyMs: 100 };

describeEachContainerd(
  { title: (containerd) => `the content of ${containerd}`, commands: ['unshare'] },
  ({ name, binaries }) => {
    let scratch: Scratch;
    let registry: RealRegistry;
    let locked: RealRegistry;
    /** Between the agents and the registry: containerd itself goes past it. */
    let uplink: TcpProxy;
    let containerd: Containerd;
    let cluster: AgentCluster;
    /** It has the containerd. */
    let holder: AgentProcess;
    let other: AgentProcess;
    const before = imageOf('before');

    beforeAll(async () => {
      scratch = await Scratch.create();
      [registry, locked] = await Promise.all([
        RealRegistry.start(scratch),
        RealRegistry.start(scratch, { authenticated: true }),
      ]);
      uplink = await TcpProxy.start(scratch, { port: registry.port });
      const hostsDir = scratch.join('certs.d');
      // Named twice: of a file without any mirror 1.6 obeys nothing.
      for (const [host, { url }] of [['docker.io', registry] as const, ['locked.example', locked] as const]) {
        await writeHostsToml(hostsDir, { registry: host, mirrors: [url], server: url });
      }
      containerd = await Containerd.start(scratch, binaries, { hostsDir, discardUnpackedLayers: true });
      await pullDirectly('library/before', before);
      cluster = await AgentCluster.start(scratch, {
        agents: 2,
        registries: { 'docker.io': uplink.url, 'locked.example': locked.url, 'mirrored.example': uplink.url },
        settings: { tags: { maxAge: '1h' } },
        settingsOf: (index) => (index === 0 ? contentSettings() : {}),
      });
      holder = cluster.agent(0);
      other = cluster.agent(1);
      await writeHostsToml(hostsDir, {
        registry: 'mirrored.example',
        mirrors: [holder.mirrorUrl],
        server: registry.url,
      });
    });
    afterAll(() => scratch?.dispose());

    function imageOf(seed: string): Image {
      return buildImage({ seed: `${name} ${seed}`, layerBytes: [50_000, 3 * MIB], gzip: false, index: true });
    }

    function contentSettings() {
      return { containerd: { socket: containerd.address, contentDir: containerd.contentDir, shareWhenDown: true } };
    }

    /** As a node did before there was an agent. */
    async function pullDirectly(repository: string, image: Image): Promise<void> {
      await pushImage(registry.url, repository, 'v1', image);
      await containerd.pull(`docker.io/${repository}:v1`);
      await registry.forget();
    }

    function digestsOf(image: Image): Digest[] {
      return [image.top, image.manifest, ...image.blobs].map(({ digest }) => digest);
    }

    function contentBlobs(agent = holder): Promise<number> {
      return agent.metric('windlass_content_blobs');
    }

    async function expectWhole(agent: AgentProcess, repository: string, image: Image): Promise<void> {
      let faults: readonly string[] = [];
      const isWhole = async () => {
        ({ faults } = await pullImage(agent, repository, image.top.digest, image));
        return faults.length === 0;
      };
      // With upstream gone nobody else has it: until it is announced there is nothing to be had.
      await eventually(isWhole, { ...LONG, what: () => `a pull; the last: ${faults.join()}\n${holder.daemon.tail()}` });
    }

    test('an image pulled before the agent started is served to another agent, upstream stopped', async () => {
      await eventually(async () => (await contentBlobs()) === digestsOf(before).length, LONG);
      await uplink.stop();

      await expectWhole(other, 'library/before', before);

      expect(await holder.metric('windlass_store_blobs')).toBe(0);
      expect(await other.metric('windlass_ingest_received_bytes_total', { source: 'peer' })).toBeGreaterThan(3 * MIB);
      await uplink.listen();
    });

    test("the node's own clients get it too, and it is not kept a second time", async () => {
      await expectWhole(holder, 'library/before', before);

      expect(await holder.metric('windlass_mirror_requests_total', { source: 'content' })).toBeGreaterThan(4);
      expect(await holder.metric('windlass_store_blobs')).toBe(0);
      expect(await registry.counts()).not.toHaveProperty([`GET blob ${before.config.digest}`]);
    });

    test('an image pulled while the agent runs is noticed, and served', async () => {
      const image = imageOf('while');
      const known = await contentBlobs();
      await pullDirectly('library/while', image);
      await eventually(async () => (await contentBlobs()) === known + digestsOf(image).length, LONG);
      await uplink.stop();

      await expectWhole(other, 'library/while', image);

      await uplink.listen();
    });

    test('what containerd got with a secret of its own is given to nobody', async () => {
      const image = imageOf('secret');
      const known = await contentBlobs();
      const secret = { user: REGISTRY_USER, password: REGISTRY_PASSWORD };
      await pushImage(locked.url, 'team/secret', 'v1', image, secret);
      await containerd.pull('locked.example/team/secret:v1', { user: `${secret.user}:${secret.password}` });
      await eventually(async () => (await contentBlobs()) === known + digestsOf(image).length, LONG);

      for (const agent of [holder, other]) {
        for (const host of ['locked.example', 'docker.io']) {
          for (const { digest } of image.blobs) {
            const answer = await httpGet(`${agent.mirrorUrl}/v2/team/secret/blobs/${digest}?ns=${host}`);
            expect([answer.status, answer.bytes.includes(image.config.bytes)]).toEqual([404, false]);
          }
        }
      }
      // Known to be closed, it is told to others no more.
      expect(await contentBlobs()).toBe(known);
    });

    test('an image that was removed and collected: clients get it from upstream, and it is announced no more', async () => {
      const image = imageOf('removed');
      await containerd.removeImages();
      await eventually(async () => (await contentBlobs()) === 0, LONG);
      await pullDirectly('library/removed', image);
      await eventually(async () => (await contentBlobs()) === digestsOf(image).length, LONG);
      await containerd.removeImages();

      // At once: what was announced is not there any more.
      expect(await pullImage(other, 'library/removed', image.top.digest, image)).toEqual({ faults: [] });

      const counts = await registry.counts();
      for (const { digest } of image.blobs) expect(counts[`GET blob ${digest}`], digest).toBe(1);
      await eventually(async () => (await contentBlobs()) === 0, LONG);
      // Of two agents each keeps the whole index: nothing is left in it but what the stores hold.
      await eventually(async () => {
        const held = await cluster.metric('windlass_store_blobs');
        return (await cluster.metric('windlass_index_entries')) === 2 * held;
      }, LONG);
    });

    test('a damaged file is never served: clients get the right bytes from upstream', async () => {
      const image = imageOf('damaged');
      await pullDirectly('library/damaged', image);
      await eventually(async () => (await contentBlobs()) === digestsOf(image).length, LONG);
      for (const { digest } of image.blobs) {
        const path = `${containerd.contentDir}/blobs/${digest.replace(':', '/')}`;
        const bytes = await readFile(path);
        bytes.writeUInt8(bytes.readUInt8(0) ^ 1);
        await writeFile(path, bytes);
      }

      const config = await httpGet(`${holder.mirrorUrl}/v2/library/damaged/blobs/${image.config.digest}?ns=docker.io`);
      expect([config.status, digestOf(config.bytes)]).toEqual([200, image.config.digest]);
      // A large one began before it was hashed: its last piece does not come, and the next try is right.
      const layer = image.layers.at(-1)?.digest;
      const url = `${holder.mirrorUrl}/v2/library/damaged/blobs/${layer}?ns=docker.io`;
      expect((await httpGet(url)).end).toBe('fin');
      expect(digestOf((await httpGet(url)).bytes)).toBe(layer);
      expect(await holder.metric('windlass_verification_failures_total', { source: 'content' })).toBe(2);
      expect(await pullImage(other, 'library/damaged', image.top.digest, image)).toEqual({ faults: [] });
    });

    test('layers that are discarded once they are unpacked come from the store', async () => {
      const image = imageOf('discarded');
      await pushImage(registry.url, 'team/discarded', 'v1', image);
      const cri = new Cri(scratch, containerd.address);
      await cri.pullImage('mirrored.example/team/discarded:v1');
      const layers = image.layers.map(({ digest }) => digest);
      await eventually(async () => {
        const held = new Set(await containerd.contentDigests());
        return layers.every((digest) => !held.has(digest as string));
      }, LONG);
      await uplink.stop();

      let faults: readonly string[] = [];
      const isWhole = async () => {
        ({ faults } = await pullImage(other, 'team/discarded', image.top.digest, image, 'mirrored.example'));
        return faults.length === 0;
      };
      await eventually(isWhole, { ...LONG, what: () => `a pull; the last: ${faults.join()}` });

      await uplink.listen();
    });

    describe('with containerd gone', () => {
      const image = imageOf('gone');

      test('the agent goes on, and serves what is there', async () => {
        await pullDirectly('library/gone', image);
        const isKnown = async () => (await holder.metric('windlass_content_connected')) === 1;
        await eventually(isKnown, LONG);
        await expectServed(image);
        await containerd.stop();
        await rm(containerd.address, { force: true });
        await eventually(async () => (await holder.metric('windlass_content_connected')) === 0, LONG);

        await expectServed(image);

        expect((await fetch(`${holder.statusUrl}/readyz`)).status).toBe(200);
      });

      test('an agent that starts meanwhile says so once, and finds all when it comes back', async () => {
        const late = await AgentProcess.start(scratch, {
          registries: { 'docker.io': uplink.url },
          settings: contentSettings(),
        });
        const complaints = () =>
          late.logs().filter(({ level, msg }) => level === 40 && /containerd cannot be followed/.test(String(msg)));
        const tries = () => late.logs().filter(({ msg }) => /cannot be followed yet/.test(String(msg)));
        await eventually(() => complaints().length === 1 && tries().length > 0, LONG);

        await containerd.start();

        for (const agent of [late, holder]) {
          await eventually(async () => (await agent.metric('windlass_content_connected')) === 1, LONG);
        }
        expect(await contentBlobs(late)).toBeGreaterThanOrEqual(digestsOf(image).length);
        expect(complaints()).toHaveLength(1);
        const after = imageOf('after');
        await pullDirectly('library/after', after);
        for (const agent of [late, holder]) await expectServed(after, agent);
      });

      /** From the directory, by the metrics. */
      async function expectServed({ config }: Image, agent = holder): Promise<void> {
        const served = () => agent.metric('windlass_mirror_requests_total', { source: 'content', method: 'GET' });
        const earlier = await served();
        await eventually(async () => {
          const answer = await httpGet(`${agent.mirrorUrl}/v2/library/any/blobs/${config.digest}?ns=docker.io`);
          return answer.status === 200 && digestOf(answer.bytes) === config.digest && (await served()) > earlier;
        }, LONG);
      }
    });
  },
);
