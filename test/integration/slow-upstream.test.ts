import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { which } from '../support/commands.ts';
import { Containerd } from '../support/containerd.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { writeHostsToml } from '../support/hosts-toml.ts';
import { buildBusyboxImage, type Image, type ImageBlob } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { Scratch } from '../support/scratch.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';

const MIB = 1024 * 1024;
/** Longer than the agent lets a client wait for headers (20 s); containerd 2.3 waits 30 s for them. */
const FIRST_BYTE_MS = 21_000;

/**
 * What the agent asks is scripted; what containerd asks itself, when it has given up on the agent, is a registry
 * that has everything.
 *
 * ```
 *  containerd ──▶ agent ──▶ upstream (scripted: late, or with a hole)
 *       └─── next host ───▶ registry (real, whole)
 * ```
 */
describeEachContainerd(
  { commands: ['runc', 'busybox', 'unshare'], alsoInChunks: true },
  ({ name, binaries, fetchChunkBytes }) => {
    let scratch: Scratch;
    let upstream: ScriptedUpstream;
    let registry: RealRegistry;
    let agent: AgentProcess;
    let containerd: Containerd;

    beforeAll(async () => {
      scratch = await Scratch.create();
      upstream = await ScriptedUpstream.start();
      scratch.defer(() => upstream.stop());
      registry = await RealRegistry.start(scratch);
      agent = await AgentProcess.start(scratch, { registries: { 'docker.io': `http://${upstream.address}` } });
      const hostsDir = await writeHostsToml(scratch.join('certs.d'), {
        registry: 'docker.io',
        mirrors: [agent.mirrorUrl],
        server: registry.url,
      });
      containerd = await Containerd.start(scratch, binaries, {
        hostsDir,
        ...(fetchChunkBytes === undefined ? {} : { fetchChunkBytes }),
      });
    });
    beforeEach(() => containerd.removeImages());
    afterAll(() => scratch?.dispose());

    const blobPath = (repository: string, { digest }: ImageBlob) => `${repository}/blobs/${digest}`;

    /** In the registry whole; upstream too, but for what the test then scripts. */
    async function publish(repository: string, image: Image): Promise<string> {
      await pushImage(registry.url, repository, '1', image);
      await registry.forget();
      for (const reference of ['1', image.top.digest, image.manifest.digest]) {
        const manifest = reference === image.manifest.digest ? image.manifest : image.top;
        upstream.serve(`${repository}/manifests/${reference}`, manifest.bytes, {
          'content-type': manifest.mediaType,
          'docker-content-digest': manifest.digest,
        });
      }
      for (const blob of image.blobs) upstream.serve(blobPath(repository, blob), blob.bytes);
      return `docker.io/${repository}:1`;
    }

    test('upstream takes 21 s to its first byte: one GET of it, and the pull goes through the agent', async () => {
      const repository = 'library/late';
      const image = await busyboxImage(`${name} late`);
      const reference = await publish(repository, image);
      const late = lastLayer(image);
      upstream.on(blobPath(repository, late), async (request, response) => {
        await sleep(FIRST_BYTE_MS);
        response.writeHead(200, { 'content-length': late.bytes.length });
        response.end(request.method === 'HEAD' ? undefined : late.bytes);
      });

      await containerd.pull(reference);

      expect(upstream.count('GET', blobPath(repository, late))).toBe(1);
      expect(await registry.counts()).toEqual({});
      expect(await containerd.runContainer(reference, ['/bin/busybox', 'echo', 'late'])).toBe('late\n');
    });

    test('a blob that the manifest names and upstream lacks comes from the next host, the others do not', async () => {
      const repository = 'library/hole';
      const image = await busyboxImage(`${name} hole`);
      const reference = await publish(repository, image);
      const hole = lastLayer(image);
      upstream.on(blobPath(repository, hole), (_, response) => void response.writeHead(404).end());

      const first = await containerd.tryPull(reference);
      // In chunks there is no failover within an attempt (containerd-facts: the next attempt starts afresh).
      if (fetchChunkBytes === undefined) expect(first.code, first.stdout + first.stderr).toBe(0);
      else if (first.code !== 0) await containerd.pull(reference);

      const asked = Object.keys(await registry.counts()).filter((key) => key.startsWith('GET '));
      expect(asked).toEqual([`GET blob ${hole.digest}`]);
      // The client was cut off, came back, was told 404, and left: nobody asks again and again.
      expect(upstream.count('GET', blobPath(repository, hole))).toBeLessThanOrEqual(6);
      expect(await containerd.runContainer(reference, ['/bin/busybox', 'echo', 'whole'])).toBe('whole\n');
      expect(await agent.metric('windlass_ingests_running')).toBe(0);
    });
  },
);

function busyboxImage(seed: string): Promise<Image> {
  return buildBusyboxImage(which('busybox') ?? '', { seed, layerBytes: [100_000, 3 * MIB], index: true });
}

function lastLayer(image: Image): ImageBlob {
  const layer = image.layers.at(-1);
  if (layer === undefined) throw new Error('no layer');
  return layer;
}
