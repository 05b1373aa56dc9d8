import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { tryCommand } from '../support/commands.ts';
import { findingsOf } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { inNamespace } from '../support/in-namespace.ts';
import { describeWith } from '../support/requires.ts';
import { Lab } from './lab/lab.ts';
import type { LabNode } from './lab/lab-node.ts';
import { containerds, labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { PARTED_NODES } from './lab/size.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MIB = 1024 * 1024;

describeWith(`a partition, ${PARTED_NODES / 2} | ${PARTED_NODES / 2}, during a pull`, labMissing, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.start({ nodes: PARTED_NODES, containerds: containerds(4), nodeRate: 200, upstreamRate: 40 });
    await lab.settled();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await lab.saveLogs(task.name);
    await lab.network.heal();
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

    // While apart: something new, each by one side alone.
    const sides = [lab.nodes.slice(0, PARTED_NODES / 2), lab.nodes.slice(PARTED_NODES / 2)];
    const images = [await lab.image({ layerBytes: [3 * MIB, MIB] }), await lab.image({ layerBytes: [2 * MIB, MIB] })];
    const pullAll = async (nodesOf: (side: number) => LabNode[], byDigest: boolean) => {
      const scenes = await Promise.all(
        images.map((one, side) => Scene.start(lab, one, { nodes: nodesOf(side), byDigest: () => byDigest })),
      );
      await Promise.all(scenes.map((each) => each.finish()));
    };
    await pullAll((side) => sides[side] ?? [], false);
    await lab.network.heal();
    await lab.settled();
    await lab.registry.registry.forget();

    await pullAll((side) => sides[1 - side] ?? [], true);

    const healed = await lab.registry.report();
    // Neither by agents, nor by containerds that theirs had nothing for.
    expect([healed.agentBytes, healed.otherBytes]).toEqual([0, 0]);
  });

  test('a node whose packets are dropped: its doctor says that the others cannot be reached', async () => {
    const [node] = lab.nodes;
    if (node === undefined) throw new Error('no node');
    await node.cut();
    await eventually(async () => (await node.agent.metric('windlass_peers')) === 0, {
      timeoutMs: 240_000,
      what: 'the node to take all others for dead',
    });
    const args = ['doctor', '--json', '--no-pull', `--config=${node.agent.configPath}`];
    const [command, rest] = inNamespace(node.host.namespace, process.execPath, [MAIN, ...args]);
    const { code, stdout, stderr } = await tryCommand(command, [...rest], { timeoutMs: 240_000 });
    expect({ code, stderr, findings: stdout === '' ? [] : findingsOf(JSON.parse(stdout).checks) }).toMatchObject({
      code: 3,
      stderr: '',
      findings: expect.arrayContaining([
        expect.objectContaining({
          code: 'peers-none',
          severity: 'error',
          about: expect.arrayContaining([expect.stringMatching(/no answer within|EHOSTUNREACH/)]),
        }),
      ]),
    });
    await node.mend();
    await lab.settled();
  });
});
