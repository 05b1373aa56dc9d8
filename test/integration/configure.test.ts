import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { type CommandResult, run, which } from '../support/commands.ts';
import { Containerd } from '../support/containerd.ts';
import { Cri } from '../support/cri.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { type FileTree, makeTree, readTree } from '../support/file-tree.ts';
import { buildBusyboxImage } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { Scratch } from '../support/scratch.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** A registry with a file by hand, one with an empty folder, and one that `_default` serves. */
const REGISTRIES = ['docker.io', 'quay.io', 'ghcr.io'];

function certsDir(registry: string): FileTree {
  const dead = "capabilities = ['pull', 'resolve']\n";
  return {
    'docker.io/hosts.toml': {
      kind: 'file',
      mode: 0o600,
      // As GKE writes it, with a mirror that is away.
      content: `# by hand\nserver = '${registry}'\n\n[host]\n  # the old mirror\n  [host.'http://127.0.0.1:1']\n    ${dead}`,
    },
    'quay.io': { kind: 'folder', mode: 0o700 },
    '_default/hosts.toml': {
      kind: 'file',
      mode: 0o644,
      content: `server = "${registry}"\n[host."http://127.0.0.1:1"]\n${dead}[host."http://127.0.0.1:1".header]\nx-a = ["b"]`,
    },
  };
}

describeEachContainerd(
  { title: (containerd) => `${containerd} and windlass configure`, commands: ['runc', 'busybox', 'unshare'] },
  ({ name, binaries }) => {
    let scratch: Scratch;
    let registry: RealRegistry;
    let agent: AgentProcess;
    let containerd: Containerd;
    let cri: Cri;
    let before: FileTree;
    let hostsDir: string;

    beforeAll(async () => {
      scratch = await Scratch.create();
      registry = await RealRegistry.start(scratch);
      const registries = Object.fromEntries(REGISTRIES.map((host) => [host, registry.url]));
      agent = await AgentProcess.start(scratch, { registries });
      hostsDir = scratch.join('certs.d');
      await makeTree(hostsDir, certsDir(registry.url));
      before = await readTree(hostsDir);
      containerd = await Containerd.start(scratch, binaries, { hostsDir });
      cri = new Cri(scratch, containerd.address);
    });
    afterAll(() => scratch?.dispose());

    function windlass(command: string): Promise<CommandResult> {
      const flags = ['--config', agent.configPath, '--containerd.certs-dir', hostsDir];
      return run(process.execPath, [
        MAIN,
        command,
        ...flags,
        '--registries-conf-dir',
        scratch.join('registries.conf.d'),
      ]);
    }

    /** A new image of each registry by the kubelet's way and by ctr. @returns of how many manifests the agent was asked */
    async function pullAll(seed: string, hosts = REGISTRIES): Promise<number[]> {
      const asked: number[] = [];
      for (const host of hosts) {
        const image = await buildBusyboxImage(which('busybox') ?? '', { seed: `${name} ${seed} ${host}` });
        const repository = `${host.split('.')[0]}/${seed}`;
        await pushImage(registry.url, repository, '1', image);
        const count = async () =>
          agent.running ? agent.metric('windlass_mirror_requests_total', { kind: 'manifest' }) : 0;
        const start = await count();
        await cri.pullImage(`${host}/${repository}:1`);
        await containerd.removeImages();
        await containerd.pull(`${host}/${repository}:1`);
        asked.push((await count()) - start);
      }
      return asked;
    }

    test('asks the mirror first for each, whatever stood there', async () => {
      expect((await windlass('configure')).stdout.match(/^written: /gm)).toHaveLength(3);
      expect(await pullAll('configured')).toEqual([2, 2, 2]);
    });

    test('goes on to the registry, past the mirror that was there, when the agent is away', async () => {
      await agent.kill('SIGKILL');
      expect(await pullAll('away')).toEqual([0, 0, 0]);
      await agent.start();
    });

    test('asks the mirror no more after windlass cleanup, and finds its folder as it was', async () => {
      await windlass('cleanup');
      expect(await readTree(hostsDir)).toEqual(before);
      // That the third is this registry, nobody but windlass configure had said.
      expect(await pullAll('cleaned', ['docker.io', 'ghcr.io'])).toEqual([0, 0]);
    });
  },
);
