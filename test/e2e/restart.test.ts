import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { GATED_REGISTRY, Lab, type LabImage } from './lab/lab.ts';
import { containerds, labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';

const MIB = 1024 * 1024;
const LAYERS = [6 * MIB, 3 * MIB, 100_000];

describeWith('what the cluster holds outlives restarts, and upstream', labMissing, () => {
  let lab: Lab;
  let image: LabImage;

  beforeAll(async () => {
    // The last two are not there at first.
    lab = await Lab.start({ nodes: 10, agents: 8, containerds: containerds(4) });
    await lab.settled();
    image = await lab.image({ layerBytes: LAYERS }, GATED_REGISTRY);
    // Held by three; not by everybody, so that it has to be found.
    await (await Scene.start(lab, image, { nodes: lab.nodes.slice(5, 8) })).finish();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await lab.saveLogs(task.name);
  });
  afterAll(() => lab?.dispose());

  test('all agents restarted at once, stores kept: a new node has everything from peers', async () => {
    const old = lab.nodes.slice(0, 8);
    await Promise.all(old.map(({ agent }) => agent.stop()));
    await Promise.all(old.map(({ agent }) => agent.start()));
    await lab.settled();
    await lab.indexed(image, 3);
    await lab.registry.registry.forget();

    await lab.node(8).agent.start();
    await lab.settled();
    const { retries } = await lab.node(8).pull(image.byDigest).done;

    expect(retries).toBe(0);
    const { gets, agentBytes } = await lab.registry.report();
    expect([agentBytes, gets.size]).toEqual([0, 0]);
  });

  test('upstream down: a new node pulls by digest and by tag what any peer holds', async () => {
    lab.gate.down = true;
    await lab.node(9).agent.start();
    await lab.settled();

    for (const reference of [image.byDigest, image.byTag]) {
      expect((await lab.node(9).pull(reference).done).retries).toBe(0);
    }
    await lab.node(0).pullAsItDoes(image.byTag);

    expect((await lab.registry.report()).otherBytes).toBe(0);
  });
});
