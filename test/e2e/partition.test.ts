import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { Lab } from './lab/lab.ts';
import { containerds, labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { MOST_NODES } from './lab/size.ts';

const MIB = 1024 * 1024;

describeWith(`a partition, ${MOST_NODES / 2} | ${MOST_NODES / 2}, during a pull`, labMissing, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.start({ nodes: MOST_NODES, containerds: containerds(4), nodeRate: 200, upstreamRate: 40 });
    await lab.settled();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await lab.saveLogs(task.name);
  });
  afterAll(() => lab?.dispose());

  test('at most two writers a blob; once healed, what one side fetched the other has from it', async () => {
    const [left, right] = lab.halves();
    const image = await lab.image({ layerBytes: [16 * MIB, 4 * MIB] });
    const scene = await Scene.start(lab, image);
    await scene.upstreamAt(0.2);
    await lab.network.partition(left, right);
    await scene.finish();
    const { gets, agentBytes, otherBytes } = await lab.registry.report();
    for (const { digest } of image.image.blobs) expect(gets.get(digest), digest).toBeLessThanOrEqual(2);
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(2);
    expect(otherBytes).toBe(0);

    // While apart: something new, by one side alone.
    const onRight = await lab.image({ layerBytes: [3 * MIB, MIB] });
    await (await Scene.start(lab, onRight, { nodes: lab.nodes.slice(MOST_NODES / 2) })).finish();
    await lab.network.heal();
    await lab.settled();
    await lab.registry.registry.forget();

    await (
      await Scene.start(lab, onRight, { nodes: lab.nodes.slice(0, MOST_NODES / 2), byDigest: () => true })
    ).finish();

    expect((await lab.registry.report()).agentBytes).toBe(0);
  });
});
