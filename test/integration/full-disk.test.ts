import { mkdir, statfs } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { run } from '../support/commands.ts';
import { httpGet } from '../support/http-get.ts';
import { buildImage, type Image } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith, rootMissing } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;

describeWith('a disk of 64 MiB and an image of 200 MiB', [RealRegistry.missing, rootMissing()], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let agent: AgentProcess;
  let image: Image;
  let firstPeakBytes = 0;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    image = buildImage({ seed: 'full disk', layerBytes: [120 * MIB, 40 * MIB, 30 * MIB, 10 * MIB], gzip: false });
    await pushImage(registry.url, 'library/large', 'latest', image);
    const disk = scratch.join('disk');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk]);
    scratch.defer(() => run('umount', ['-l', disk]));
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': registry.url },
      storePath: `${disk}/store`,
      settings: { store: { minFree: '5%' } },
    });
  });
  afterAll(() => scratch?.dispose());

  async function pullAll(): Promise<void> {
    const top = await httpGet(`${agent.mirrorUrl}/v2/library/large/manifests/latest`);
    expect(top.bytes.equals(image.top.bytes)).toBe(true);
    await Promise.all(
      image.blobs.map(async (blob) => {
        const answer = await httpGet(`${agent.mirrorUrl}/v2/library/large/blobs/${blob.digest}`);
        expect(answer).toMatchObject({ status: 200, end: 'whole' });
        expect(answer.bytes.equals(blob.bytes)).toBe(true);
      }),
    );
  }

  it('the pull succeeds, each blob fetched once; the agent stays healthy and says what happened', async () => {
    await registry.forget();
    await pullAll();
    const counts = await registry.counts();
    for (const blob of image.blobs) expect(counts[`GET blob ${blob.digest}`]).toBe(1);

    for (const path of ['/healthz', '/readyz']) expect((await httpGet(agent.statusUrl + path)).status).toBe(200);
    expect(await agent.metric('windlass_store_pass_through_total')).toBeGreaterThan(0);
    expect(agent.logs().some(({ level, msg }) => Number(level) >= 40 && /room|disk|quota/i.test(String(msg)))).toBe(
      true,
    );
    const { bavail, blocks } = await statfs(agent.storePath);
    expect(bavail / blocks).toBeGreaterThanOrEqual(0.05);
    firstPeakBytes = (await agent.memory()).peakRssBytes;
  });

  it('and so does the next one, and one with a client that reads slowly beside a quick one', async () => {
    await pullAll();
    const [largest] = image.layers;
    if (largest === undefined) throw new Error('no layer');
    const url = `${agent.mirrorUrl}/v2/library/large/blobs/${largest.digest}`;
    const quick = httpGet(url);
    const slow = httpGet(url);
    for (const answer of await Promise.all([quick, slow])) {
      expect(answer.end).toBe('whole');
      expect(answer.bytes.equals(largest.bytes)).toBe(true);
    }
    const { peakRssBytes } = await agent.memory();
    expect(peakRssBytes).toBeLessThan(300 * MIB);
    // It does not grow with what is read: more than twice as much by now.
    expect(peakRssBytes - firstPeakBytes).toBeLessThan(64 * MIB);
  });

  it('after a restart what was kept is served, and what was not is not', async () => {
    await agent.kill();
    await agent.start();
    await pullAll();
    expect(await agent.metric('windlass_store_bytes')).toBeLessThanOrEqual(64 * MIB);
  });
});
