import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
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
      // As Kubernetes has it by default: a writer that is told to stop has time for the rest of its blob.
      settings: () => ({ stop: { gracePeriod: '30s' } }),
    });
    await lab.settled();
  });
  beforeEach(() => lab.registry.registry.forget());
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

  test('a rolling update of the agents during a pull by all: upstream gives it once', async () => {
    const image = await lab.image({ layerBytes: [48 * MIB] });
    // Plain clients ask their agent again; a containerd whose agent is away would go upstream by itself.
    const plain = lab.nodes.filter(({ containerd }) => containerd === undefined);
    const scene = await Scene.start(lab, image, { nodes: plain });
    await scene.upstreamAt(0.05);
    for (const { agent } of lab.nodes) {
      await agent.stop();
      await agent.start();
    }
    await scene.finish();

    const { gets, agentBytes, otherBytes } = await lab.registry.report();
    expect(gets.get(image.image.layers[0]?.digest ?? '')).toBe(1);
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(1.01);
    expect(otherBytes).toBe(0);
  });
});
