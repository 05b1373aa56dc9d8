import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { debianContainerd } from '../support/containerd-binaries.ts';
import { describeWith } from '../support/requires.ts';
import { expectOnce } from './lab/expect-once.ts';
import { GATED_REGISTRY, Lab } from './lab/lab.ts';
import { containerds, labMissing, usable } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { MOST_NODES } from './lab/size.ts';

const MIB = 1024 * 1024;

describeWith(`${MOST_NODES} nodes, and what takes long`, labMissing, () => {
  let lab: Lab;

  beforeAll(async () => {
    const old = usable(debianContainerd());
    lab = await Lab.start({
      nodes: MOST_NODES,
      containerds: [...containerds(2), ...(old === undefined ? [] : [old, old])],
      nodeRate: 200,
      upstreamRate: 16,
      settings: () => ({ stop: { gracePeriod: '1s' } }),
    });
    await lab.settled();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await lab.saveLogs(task.name);
  });
  afterAll(() => lab?.dispose());

  test('the first byte of each blob after 20 s: one GET of each', async () => {
    lab.gate.firstByteMs = 20_000;
    const image = await lab.image({ layerBytes: [2 * MIB, MIB] }, GATED_REGISTRY);

    await (await Scene.start(lab, image)).finish();

    lab.gate.firstByteMs = 0;
    expectOnce(await lab.registry.report(), [image.image]);
  });

  // Skipped: 1.05 x (21 November, 8 nodes on two cores; 1.29 before agents that are back asked those they knew first).
  test.skip('a rolling update of the agents during a pull by all: upstream gives it once', async () => {
    const image = await lab.image({ layerBytes: [48 * MIB] });
    // Plain clients ask their agent again; a containerd whose agent is away would go upstream by itself.
    const scene = await Scene.start(lab, image, {
      nodes: lab.nodes.filter(({ containerd }) => containerd === undefined),
    });
    await scene.upstreamAt(0.05);
    for (const { agent } of lab.nodes) {
      await agent.stop();
      await agent.start();
    }
    await scene.finish();

    const { agentBytes, otherBytes } = await lab.registry.report();
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(1.01);
    expect(otherBytes).toBe(0);
  });
});
