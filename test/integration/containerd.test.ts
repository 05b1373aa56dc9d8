import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { which } from '../support/commands.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { buildBusyboxImage, type Image, type ImageOptions } from '../support/image.ts';
import { NodeStage } from '../support/node-stage.ts';
import { pushImage } from '../support/push.ts';

const MIB = 1024 * 1024;

function busyboxImage(seed: string, options: ImageOptions = {}): Promise<Image> {
  return buildBusyboxImage(which('busybox') ?? '', { seed, layerBytes: [100_000, 6 * MIB], ...options });
}

/** One GET of each manifest and blob, and at most one question about the tag. */
function onceEach(image: Image, tag: string): Record<string, number> {
  const counts: Record<string, number> = { [`HEAD manifest ${tag}`]: 1 };
  for (const { digest } of [image.top, image.manifest]) counts[`GET manifest ${digest}`] = 1;
  for (const { digest } of image.blobs) counts[`GET blob ${digest}`] = 1;
  return counts;
}

function digestsOf(image: Image): string[] {
  return [...new Set([image.top, image.manifest, ...image.blobs].map(({ digest }) => digest))].sort();
}

describeEachContainerd(
  { commands: ['runc', 'busybox', 'unshare'], alsoInChunks: true },
  ({ name, binaries, fetchChunkBytes }) => {
    let stage: NodeStage;

    beforeAll(async () => {
      stage = await NodeStage.start(binaries, {
        containerd: fetchChunkBytes === undefined ? {} : { fetchChunkBytes },
        // However long a test takes: a tag is asked for once.
        agent: { settings: { tags: { maxAge: '1h' } } },
      });
    });
    beforeEach(() => stage.containerd.removeImages());
    afterAll(() => stage?.dispose());

    /** Pushes an image, then forgets that. */
    async function publish(repository: string, tag: string, image: Image): Promise<string> {
      await pushImage(stage.registry.url, repository, tag, image);
      await stage.registry.forget();
      return `docker.io/${repository}`;
    }

    test('pulls by tag through the agent, upstream sees each once, and a container runs', async () => {
      const image = await busyboxImage(`${name} tag`, { index: true });
      const reference = `${await publish('library/by-tag', '1', image)}:1`;

      await stage.containerd.pull(reference);

      expect(await stage.registry.counts()).toEqual(onceEach(image, '1'));
      expect(await stage.containerd.contentDigests().then((held) => held.sort())).toEqual(digestsOf(image));
      const said = await stage.containerd.runContainer(reference, ['/bin/busybox', 'sha256sum', '/data/1.bin']);
      expect(said).toMatch(/^[0-9a-f]{64} {2}\/data\/1\.bin/);
    });

    test('asks upstream for nothing when the image was removed and is pulled again', async () => {
      const image = await busyboxImage(`${name} again`, { index: true });
      const reference = `${await publish('library/again', '1', image)}:1`;
      await stage.containerd.pull(reference);
      await stage.containerd.removeImages();
      await stage.registry.forget();

      await stage.containerd.pull(reference);

      expect(await stage.registry.counts()).toEqual({});
      expect(await stage.containerd.contentDigests().then((held) => held.sort())).toEqual(digestsOf(image));
    });

    test('pulls by digest, Docker media types, and a container runs', async () => {
      const image = await busyboxImage(`${name} digest`, { format: 'docker', index: true });
      const reference = `${await publish('library/by-digest', '1', image)}@${image.top.digest}`;

      await stage.containerd.pull(reference);

      const counts = await stage.registry.counts();
      for (const { digest } of image.blobs) expect(counts[`GET blob ${digest}`], digest).toBe(1);
      for (const { digest } of [image.top, image.manifest]) expect(counts[`GET manifest ${digest}`], digest).toBe(1);
      expect(await stage.containerd.runContainer(reference, ['/bin/busybox', 'echo', 'hello'])).toBe('hello\n');
    });

    test('a tag and a digest of the same image share one fetch of everything', async () => {
      const image = await busyboxImage(`${name} both`, { index: true });
      const reference = await publish('library/both', '1', image);

      await Promise.all([
        stage.containerd.pull(`${reference}:1`),
        stage.containerd.pull(`${reference}@${image.top.digest}`),
      ]);

      const counts = await stage.registry.counts();
      const gets = Object.fromEntries(Object.entries(counts).filter(([key]) => key.startsWith('GET ')));
      const { 'HEAD manifest 1': _, ...expected } = onceEach(image, '1');
      expect(gets).toEqual(expected);
    });

    if (fetchChunkBytes !== undefined) {
      test('fetched a layer in several requests, the agent asked upstream once', async () => {
        const image = await busyboxImage(`${name} chunks`);
        const reference = `${await publish('library/chunks', '1', image)}:1`;
        const before = await stage.agent.metric('windlass_mirror_requests_total', { kind: 'blob' });

        await stage.containerd.pull(reference);

        const after = await stage.agent.metric('windlass_mirror_requests_total', { kind: 'blob' });
        expect(after - before).toBeGreaterThan(image.blobs.length + 4); // 6 MiB in chunks of 1 MiB
        expect(await stage.registry.counts()).toEqual(onceEach(image, '1'));
      });
    }

    test('the agent is killed in the middle of a pull: the image still comes, from upstream', async () => {
      const image = await busyboxImage(`${name} killed`, { layerBytes: [24 * MIB] });
      const reference = `${await publish('library/killed', '1', image)}:1`;
      const passedBytes = stage.uplink.downBytes + 8 * MIB;
      stage.uplink.stallAfter(8 * MIB); // the agent has a third of the image, and gets no more

      const pull = stage.containerd.tryPull(reference);
      await stage.uplink.passed(passedBytes);
      await stage.agent.kill('SIGKILL');
      stage.uplink.resume();
      const first = await pull;
      // In chunks there is no failover within an attempt (containerd-facts: the next attempt starts afresh).
      if (fetchChunkBytes === undefined) expect(first.code, first.stdout + first.stderr).toBe(0);
      else if (first.code !== 0) await stage.containerd.pull(reference);

      const held = await stage.containerd.contentDigests();
      expect(held).toEqual(expect.arrayContaining(digestsOf(image)));
      const counts = await stage.registry.counts();
      const asked = Math.max(...image.layers.map(({ digest }) => counts[`GET blob ${digest}`] ?? 0));
      expect(asked).toBeGreaterThanOrEqual(2); // once by the agent, which did not finish, and by containerd itself
      expect(await stage.containerd.runContainer(reference, ['/bin/busybox', 'echo', 'alive'])).toBe('alive\n');
      await stage.agent.start();
    });

    test('after the agent has come back the next pull goes through it again', async () => {
      const image = await busyboxImage(`${name} back`);
      const reference = `${await publish('library/back', '1', image)}:1`;
      const before = stage.uplink.downBytes;

      await stage.containerd.pull(reference);

      expect(await stage.registry.counts()).toEqual(onceEach(image, '1'));
      expect(stage.uplink.downBytes - before).toBeGreaterThanOrEqual(image.totalBytes);
    });
  },
);
