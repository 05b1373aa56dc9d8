import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cri } from '../support/cri.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { buildImage } from '../support/image.ts';
import { NodeStage } from '../support/node-stage.ts';
import { pushImage } from '../support/push.ts';

describeEachContainerd(
  { title: (containerd) => `PullImage of ${containerd}`, commands: ['unshare'] },
  ({ name, binaries }) => {
    let stage: NodeStage;
    let cri: Cri;
    const image = buildImage({ seed: name, layerBytes: [50_000, 3_000_000], index: true });

    beforeAll(async () => {
      stage = await NodeStage.start(binaries);
      cri = new Cri(stage.scratch, stage.containerd.address);
      await pushImage(stage.registry.url, 'team/app', 'v1', image);
      await stage.registry.forget();
    });
    afterAll(() => stage?.dispose());

    test('pulls by tag through the agent, as the kubelet does', async () => {
      expect(await cri.pullImage('docker.io/team/app:v1')).toBe(image.config.digest);

      const status = await cri.imageStatus('docker.io/team/app:v1');
      expect(status?.repoDigests).toEqual([`docker.io/team/app@${image.top.digest}`]);
      const counts = await stage.registry.counts();
      for (const { digest } of image.blobs) expect(counts[`GET blob ${digest}`], digest).toBe(1);
      expect(stage.uplink.downBytes).toBeGreaterThanOrEqual(image.totalBytes);
    });

    test('pulls again by digest without asking upstream', async () => {
      await cri.removeImage('docker.io/team/app:v1');
      await stage.containerd.removeImages();
      await stage.registry.forget();

      expect(await cri.pullImage(`docker.io/team/app@${image.top.digest}`)).toBe(image.config.digest);

      expect(await stage.registry.counts()).toEqual({});
    });

    test('an image that does not exist is not found, and the agent stays well', async () => {
      await expect(cri.pullImage('docker.io/team/none:v1')).rejects.toThrow(/not found/);

      expect((await fetch(`${stage.agent.statusUrl}/readyz`)).status).toBe(200);
    });
  },
);
