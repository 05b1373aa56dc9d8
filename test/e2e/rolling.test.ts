import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { debianContainerd } from '../support/containerd-binaries.ts';
import { describeWith } from '../support/requires.ts';
import { expectOnce } from './lab/expect-once.ts';
import { GATED_REGISTRY, Lab } from './lab/lab.ts';
import type { LabNode } from './lab/lab-node.ts';
import { containerds, labMissing, usable } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { MOST_NODES, STRICT } from './lab/size.ts';

const MIB = 1024 * 1024;
/** How many agents are restarted, one after the other: all 16 take two cores five minutes. */
const RESTARTED = STRICT ? MOST_NODES : 4;
/** At 1 Mbit/s more than it takes to restart those. */
const LAYERS: readonly number[] = STRICT ? Array(144).fill(MIB / 4) : Array(80).fill(MIB / 8);

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

    const scene = await Scene.start(lab, image);
    await scene.finish();

    lab.gate.firstByteMs = 0;
    expectOnce(await lab.registry.report(), [image.image]);
    expect(scene.askedAgain).toEqual([]);
  });

  test('a rolling update of the agents during a pull by all: upstream gives it once', async () => {
    const image = await lab.image({ layerBytes: [48 * MIB] });
    // Plain clients ask their agent again; a containerd whose agent is away would go upstream by itself.
    const plain = lab.nodes.filter(({ containerd }) => containerd === undefined);
    const scene = await Scene.start(lab, image, { nodes: plain });
    await scene.upstreamAt(0.05);
    await restartEach(lab.nodes);
    await scene.finish();

    const { gets, agentBytes, otherBytes } = await lab.registry.report();
    expect(gets.get(image.image.layers[0]?.digest ?? '')).toBe(1);
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(1.01);
    expect(otherBytes).toBe(0);
  });

  test('restarted one by one while all pull: each client asks its agent again, and upstream gives little more than once', {
    timeout: 600_000,
  }, async () => {
    // Slow enough to last until all are restarted, and so that two cores can start agents meanwhile.
    await lab.network.limit(lab.upstream, { up: 1, down: 1 });
    const image = await lab.image({ layerBytes: LAYERS });
    const scene = await Scene.start(lab, image, { plain: true });
    await scene.upstreamAt(0.01);
    const restarted = lab.nodes.slice(-RESTARTED);
    await restartEach(restarted);
    await lab.network.limit(lab.upstream, { up: 16, down: 16 });
    await scene.finish();

    expect(namesOf(restarted.filter((node) => scene.retriesOf(node) === 0)), 'whose client saw nothing of it').toEqual(
      [],
    );
    const { agentBytes, otherBytes } = await lab.registry.report();
    // Of 80 small blobs one or two are asked for twice where processors are short.
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(STRICT ? 1.01 : 1.03);
    expect(otherBytes).toBe(0);
  });
});

describeWith('nodes that have no time for the rest of a blob when they are told to stop', labMissing, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.start({
      nodes: MOST_NODES / 2,
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

  test('restarted one by one while all pull: each client asks its agent again, and upstream gives little more', async () => {
    const image = await lab.image({ layerBytes: [40 * MIB, 30 * MIB, 20 * MIB, 10 * MIB] });
    const scene = await Scene.start(lab, image);
    for (const [index, node] of lab.nodes.entries()) {
      await scene.upstreamAt((0.9 * (index + 1)) / (lab.nodes.length + 1));
      await restartEach([node]);
    }
    await scene.finish();

    expect(namesOf(lab.nodes.filter((node) => scene.retriesOf(node) === 0)), 'whose client saw nothing of it').toEqual(
      [],
    );
    // What is on its way to a writer that is cut is sent again, to the next one: it cannot be called back.
    const { agentBytes } = await lab.registry.report();
    expect(agentBytes / image.image.totalBytes).toBeLessThanOrEqual(1.1);
  });
});

/** SIGTERM, and a start with the store kept, of one agent after the other. */
async function restartEach(nodes: readonly LabNode[]): Promise<void> {
  for (const { agent } of nodes) {
    await agent.stop();
    await agent.start();
  }
}

function namesOf(nodes: readonly LabNode[]): string[] {
  return nodes.map(({ name }) => name);
}
