import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run, tryCommand } from '../support/commands.ts';
import { eventually } from '../support/eventually.ts';
import { describeWith } from '../support/requires.ts';
import { Lab } from './lab/lab.ts';
import { removeLeftovers } from './lab/leftovers.ts';
import { containerds, labMissing } from './lab/requirements.ts';

const MIB = 1024 * 1024;
const CHILD = fileURLToPath(new URL('./lab/lab-child.ts', import.meta.url));

describeWith('the lab', labMissing, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.start({ nodes: 4, containerds: containerds(1), swarm: false });
  });
  afterAll(() => lab?.dispose());

  test('counts: agents that are alone fetch the image once each, and the link says the same as the log', async () => {
    const { image, byTag, byDigest } = await lab.image({ layerBytes: [5 * MIB, 3 * MIB, MIB] });
    const before = await lab.upstreamSent();

    await Promise.all(lab.nodes.map((node, i) => node.pullAsItDoes(i % 2 === 0 ? byTag : byDigest)));

    const report = await lab.registry.report();
    expect(report.agentBytes).toBe(4 * image.totalBytes);
    expect(report.otherBytes).toBe(0);
    for (const { digest } of image.blobs) expect(report.gets.get(digest), digest).toBe(4);
    const onWire = (await lab.upstreamSent()) - before;
    expect(onWire / report.agentBytes).toBeGreaterThan(1);
    expect(onWire / report.agentBytes).toBeLessThan(1.08);
    expect(await lab.node(1).upstreamBytes()).toBe(image.totalBytes);
  });

  test('counts apart what a containerd asks whose agent is gone', async () => {
    const { image, byTag } = await lab.image({ layerBytes: [MIB] });
    await lab.node(0).agent.kill();

    await lab.node(0).pullAsItDoes(byTag);

    const report = await lab.registry.report();
    expect(report.agentBytes).toBe(0);
    expect(report.otherBytes).toBeGreaterThanOrEqual(image.totalBytes);
    await lab.node(0).agent.start();
  });

  test('a link that is cut swallows what is sent, until it is mended', async () => {
    const node = lab.node(1);
    await eventually(() => reaches(lab, 1, 2));
    await node.cut();
    expect(await reaches(lab, 1, 2)).toBe(false);
    expect((await fetch(`${node.agent.statusUrl}/healthz`)).ok).toBe(true);
    await node.mend();
    await eventually(() => reaches(lab, 1, 2));
  });

  test('a partition keeps the sides apart, and both can reach upstream', async () => {
    const [left, right] = lab.halves();
    await lab.network.partition(left, right);
    expect(await reaches(lab, 0, 2)).toBe(false);
    expect(await reaches(lab, 2, 0)).toBe(false);
    await eventually(() => reaches(lab, 0, 1));
    const { byTag } = await lab.image({ layerBytes: [1000] });
    await Promise.all(lab.nodes.map((node) => node.pull(byTag).done));
    await lab.network.heal();
    // Not at once: the kernel is still asking for addresses (ARP) that nobody answered.
    await eventually(() => reaches(lab, 0, 2), { what: 'the partition to be healed' });
  });

  test('what a run left behind that was killed goes at the next start, and nothing of one that lives', async () => {
    const child = spawn(process.execPath, [CHILD], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { namespaces, folder }: { namespaces: string[]; folder: string } = JSON.parse(line.toString());
    const present = async () => {
      const { stdout } = await run('ip', ['netns', 'list']);
      const folders = (await readdir(tmpdir())).map((name) => join(tmpdir(), name));
      return [...namespaces, folder].filter((name) => stdout.includes(name) || folders.includes(name));
    };

    await removeLeftovers();
    expect(await present()).toEqual([...namespaces, folder]);

    child.kill('SIGKILL');
    await once(child, 'exit');
    await removeLeftovers();
    expect(await present()).toEqual([]);
    await eventually(() => reaches(lab, 0, 1));
  });
});

/** Whether a TCP connection between two nodes is answered (here: refused) within a second. */
async function reaches(lab: Lab, from: number, to: number): Promise<boolean> {
  const script = `require('net').connect(9, '${lab.node(to).host.address}').on('error', (e) => process.exit(e.code === 'ECONNREFUSED' ? 0 : 1)); setTimeout(() => process.exit(2), 1000)`;
  const { code } = await tryCommand('ip', [
    ...['netns', 'exec', lab.node(from).host.namespace],
    ...[process.execPath, '-e', script],
  ]);
  return code === 0;
}
