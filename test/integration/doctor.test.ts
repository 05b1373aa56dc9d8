import { chmod, chown, cp, mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { socketCalls } from '../../src/containerd/socket-calls.ts';
import { checkClock } from '../../src/doctor/clock-check.ts';
import { checkDisk } from '../../src/doctor/disk-check.ts';
import type { CheckResult } from '../../src/doctor/finding.ts';
import { checkPeers } from '../../src/doctor/peers-check.ts';
import { checkPull } from '../../src/doctor/pull-check.ts';
import { readStatus } from '../../src/status/status-client.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { type CommandResult, run, tryCommand, which } from '../support/commands.ts';
import { Containerd } from '../support/containerd.ts';
import { builtContainerd, type ContainerdBinaries, debianContainerd } from '../support/containerd-binaries.ts';
import { codesOf, doctor, findingsOf, subjectWith } from '../support/doctor.ts';
import { buildBusyboxImage } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { commandsMissing, describeWith, rootMissing } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const OLD = 'plugins."io.containerd.grpc.v1.cri"';
const NEW = 'plugins."io.containerd.cri.v1.images"';

const releases: readonly { readonly name: string; readonly binaries: ContainerdBinaries | string }[] = [
  { name: 'containerd 1.6', binaries: debianContainerd() },
  { name: 'containerd 2.3', binaries: builtContainerd() },
];

/** Without a word of settings from where the tests run. */
function command(args: readonly string[]): Promise<CommandResult> {
  return tryCommand(process.execPath, [MAIN, ...args], { timeoutMs: 120_000 });
}

for (const { name, binaries } of releases) {
  const missing = [
    rootMissing(),
    commandsMissing('runc', 'busybox', 'unshare'),
    RealRegistry.missing,
    typeof binaries === 'string' ? binaries : undefined,
  ];
  describeWith(`${name} and windlass doctor`, missing, () => {
    const section = typeof binaries !== 'string' && binaries.major === 1 ? OLD : NEW;
    const otherSection = section === OLD ? NEW : OLD;
    let scratch: Scratch;
    let registry: RealRegistry;
    let agent: AgentProcess;
    let containerd: Containerd;
    let hostsDir: string;
    /** Both are this machine's: a pull that passes by the mirror goes nowhere else. */
    let hosts: string[];

    beforeAll(async () => {
      scratch = await Scratch.create();
      registry = await RealRegistry.start(scratch);
      hosts = [`127.0.0.1:${registry.port}`, `localhost:${registry.port}`];
      agent = await AgentProcess.start(scratch, {
        registries: Object.fromEntries(hosts.map((host) => [host, registry.url])),
      });
      hostsDir = scratch.join('certs.d');
      containerd = await startContainerd();
      await run(process.execPath, [MAIN, 'configure', ...flags()]);
      await rename(hostsDir, scratch.join('configured'));
    });
    afterAll(() => scratch?.dispose());
    beforeEach(async () => {
      await rm(hostsDir, { recursive: true, force: true });
      await cp(scratch.join('configured'), hostsDir, { recursive: true });
    });

    function startContainerd(edit: (toml: string) => string = (toml) => toml): Promise<Containerd> {
      if (typeof binaries === 'string') throw new Error(binaries);
      return Containerd.start(scratch, binaries, { hostsDir, edit });
    }

    const flags = (node: Pick<Containerd, 'address' | 'configFile'> = containerd) => [
      `--config=${agent.configPath}`,
      `--containerd.certs-dir=${hostsDir}`,
      `--containerd.config-file=${node.configFile}`,
      `--containerd.socket=${node.address}`,
    ];
    const examine = (node: Pick<Containerd, 'address' | 'configFile'> = containerd, ...more: string[]) =>
      doctor([...flags(node), ...more]);
    const hostsToml = (host = hosts[0]) => `${hostsDir}/${host}/hosts.toml`;
    const of = (checks: readonly CheckResult[], check: CheckResult['check']) =>
      checks.find((one) => one.check === check);

    /** With a containerd of its own, started with another configuration. */
    async function withConfig(
      edit: (toml: string) => string,
      look: (node: Containerd) => Promise<void>,
    ): Promise<void> {
      const node = await startContainerd(edit);
      try {
        await look(node);
      } finally {
        await node.stop();
      }
    }

    /** Does a pull really come through, whatever the files say? */
    async function comesThrough(node: Containerd): Promise<boolean> {
      using calls = socketCalls(node.address);
      const { findings } = await checkPull(await subjectWith(flags(node)), calls, hosts, [], `direct${Math.random()}`);
      return findings.length === 0;
    }

    test('a good node: no finding, exit code 0, and nothing is left of the pull', async () => {
      const image = await buildBusyboxImage(which('busybox') ?? '', { seed: name });
      await pushImage(registry.url, 'a/b', '1', image);
      await registry.forget();
      const args = ['doctor', ...flags(), '--root', '/nonexistent'];
      const { code, stdout, stderr } = await command(args);
      expect({ code, stderr, stdout }).toMatchObject({ code: 0, stderr: '' });
      expect(stdout).toMatch(/containerd v?[12]\.\S+ answers at/);
      expect(stdout).toMatch(/containerd pulled through the mirror from 2 of 2 registries/);
      expect(stdout.trimEnd()).toMatch(/Nothing is wrong: pulls go through the mirror\.$/);
      // No registry was needed for it, but for the time.
      expect((await registry.requests()).filter(({ path }) => path !== '/v2/')).toEqual([]);
      await containerd.removeImages();

      const json = await command([...args, '--json', '--strict', '--image', `${hosts[0]}/a/b:1`]);
      const { ok, checks } = JSON.parse(json.stdout);
      expect({ code: json.code, ok, found: codesOf(checks) }).toEqual({ code: 0, ok: true, found: [] });
      expect(of(checks, 'mirror')?.seen).toContain(`has ${hosts[0]}/a/b:1`);
      expect(of(checks, 'peers')).toMatchObject({ skipped: true });
    });

    test('an image that the registry does not have, and one of a registry that is not mirrored', async () => {
      const of = (image: string) => command(['doctor', ...flags(), '--json', '--no-pull', '--image', image]);
      const absent = await of(`${hosts[0]}/a/b:absent`);
      expect({ code: absent.code, codes: codesOf(JSON.parse(absent.stdout).checks) }).toEqual({
        code: 3,
        codes: ['image-not-found'],
      });
      const denied = await of('registry.invalid/a/b:1');
      expect(codesOf(JSON.parse(denied.stdout).checks)).toEqual(['image-unavailable']);
    });

    test('config_path is not set', () =>
      withConfig(
        (toml) => toml.replace(/config_path = .*/, ''),
        async (node) => {
          const checks = await examine(node);
          expect(codesOf(checks)).toEqual(['config-path-unset']);
          expect(of(checks, 'pull')).toMatchObject({ skipped: true });
          expect(findingsOf(checks)[0]?.mend).toMatch(/systemctl restart containerd/);
          expect(await comesThrough(node)).toBe(false);
        },
      ));

    test('config_path is a list, which 2.3 does not read', () =>
      withConfig(
        (toml) => toml.replace(`config_path = "${hostsDir}"`, `config_path = "${hostsDir}:/etc/docker/certs.d"`),
        async (node) => {
          const isRead = node.major === 1;
          const checks = await examine(node);
          expect(findingsOf(checks)).toMatchObject([
            { code: 'config-path-list', severity: isRead ? 'warning' : 'error' },
          ]);
          expect(of(checks, 'pull')).toMatchObject({ skipped: !isRead });
          expect(await comesThrough(node)).toBe(isRead);
        },
      ));

    test('config_path stands in the section of the other version, or in both', async () => {
      await withConfig(
        (toml) => toml.replace(`[${section}.registry]`, `[${otherSection}.registry]`),
        async (node) => {
          // 2.3 moves it, since files of version 3 are older ones to it.
          const isRead = node.major === 2;
          expect(findingsOf(await examine(node))).toMatchObject([
            { code: 'config-path-wrong-section', severity: isRead ? 'warning' : 'error' },
          ]);
          expect(await comesThrough(node)).toBe(isRead);
        },
      );
      await withConfig(
        (toml) => `${toml}\n[${otherSection}.registry]\nconfig_path = "/elsewhere"\n`,
        async (node) => {
          // And over what stands in the right one.
          const isRead = node.major === 1;
          expect(findingsOf(await examine(node))).toMatchObject([
            { code: 'config-path-both-sections', severity: isRead ? 'warning' : 'error' },
          ]);
          expect(await comesThrough(node)).toBe(isRead);
        },
      );
    });

    test('config_path names another folder', () =>
      withConfig(
        (toml) => toml.replace(hostsDir, '/etc/elsewhere'),
        async (node) => {
          expect(codesOf(await examine(node))).toEqual(['config-path-elsewhere']);
          expect(await comesThrough(node)).toBe(false);
        },
      ));

    test('config_path was set, and containerd not started anew since', () =>
      withConfig(
        (toml) => toml.replace(/config_path = .*/, ''),
        async (node) => {
          await writeFile(
            node.configFile,
            `version = ${node.major + 1}\n[${section}.registry]\nconfig_path = "${hostsDir}"\n`,
          );
          // Whatever the resolution of the file system's clock.
          const later = new Date(Date.now() + 10_000);
          await utimes(node.configFile, later, later);
          const checks = await examine(node);
          expect(codesOf(checks)).toEqual(['pull-passes-by-restart']);
          expect(findingsOf(checks)[0]?.about).toEqual(hosts);
          expect(findingsOf(await examine(node, '--containerd.preset=k3s'))[0]?.mend).toMatch(/systemctl restart k3s/);
        },
      ));

    test('discard_unpacked_layers is on', () =>
      withConfig(
        (toml) =>
          section === OLD
            ? toml.replace(`[${OLD}.containerd]`, `[${OLD}.containerd]\ndiscard_unpacked_layers = true`)
            : // Then containerd pulls by itself, and reads a list.
              toml
                .replace(`[${NEW}]`, `[${NEW}]\ndiscard_unpacked_layers = true`)
                .replace(`"${hostsDir}"`, `"${hostsDir}:/etc/docker/certs.d"`),
        async (node) => {
          const checks = await examine(node);
          expect(findingsOf(checks)).toMatchObject([{ code: 'discard-unpacked-layers', severity: 'warning' }]);
          expect(of(checks, 'pull')).toMatchObject({ skipped: false });
        },
      ));

    test("containerd's CRI plugin is off", () =>
      withConfig(
        (toml) => toml.replace(/^version = \d/m, (line) => `${line}\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]`),
        async (node) => {
          expect(codesOf(await examine(node))).toEqual(['cri-off']);
        },
      ));

    test('hosts.toml: none, empty, half, without the mirror, after another, unable, HTTPS first', async () => {
      const mirror = `[host."${agent.mirrorUrl}"]\n`;
      const other = '[host."http://127.0.0.1:1"]\n';
      const cases: readonly [code: string, text: string][] = [
        ['no-file', ''],
        ['unparsable', mirror.slice(0, -3)],
        ['unparsable', `${mirror}capabilities = ["fetch"]\n`],
        ['not-named', other],
        ['not-named', mirror.replace(String(agent.mirrorPort), '5049')],
        ['not-first', `${other}${mirror}`],
        ['capabilities', `${mirror}capabilities = ["resolve"]\n`],
        ['https-first', `${mirror}skip_verify = true\n`],
      ];
      for (const [code, text] of cases) {
        await writeFile(hostsToml(), text);
        const checks = await examine();
        expect(findingsOf(checks), text).toMatchObject([{ code: `hosts-toml-${code}`, about: [hosts[0]] }]);
        // The other registry is as it should be.
        expect(of(checks, 'pull')?.seen, text).toContain('from 1 of 1');
      }
      await rm(hostsDir, { recursive: true });
      expect(findingsOf(await examine())).toMatchObject([{ code: 'hosts-toml-no-file', about: hosts }]);
    });

    test('hosts.toml: _default serves all, unless a folder hides it; no folder, and links', async () => {
      await mkdir(`${hostsDir}/_default`);
      await writeFile(`${hostsDir}/_default/hosts.toml`, `[host."${agent.mirrorUrl}"]\n`);
      for (const host of hosts) await rm(`${hostsDir}/${host}`, { recursive: true });
      expect(codesOf(await examine())).toEqual([]);
      await mkdir(dirname(hostsToml()));
      expect(findingsOf(await examine())).toMatchObject([{ code: 'hosts-toml-no-file', about: [hosts[0]] }]);
      await rm(dirname(hostsToml()), { recursive: true });
      await symlink(`${hostsDir}/_default`, dirname(hostsToml()));
      expect(codesOf(await examine())).toEqual([]);
      await rm(dirname(hostsToml()));
      await writeFile(dirname(hostsToml()), '');
      expect(findingsOf(await examine())).toMatchObject([{ code: 'hosts-toml-no-folder', about: [hosts[0]] }]);
    });

    test('the agent is away, or does not mirror a registry; containerd is away, or not the one', async () => {
      expect(codesOf(await examine({ address: '/nonexistent/c.sock', configFile: containerd.configFile }))).toEqual([
        'socket-silent',
      ]);
      const more = [...hosts, 'more.invalid'].map((host) => JSON.stringify(host));
      const denied = await doctor([...flags(), `--registries=[${more}]`], false);
      expect(findingsOf(denied)).toMatchObject([
        { code: 'hosts-toml-no-file', about: ['more.invalid'] },
        { code: 'mirror-denies', about: ['more.invalid'] },
      ]);
      await agent.kill('SIGKILL');
      try {
        expect(codesOf(await examine())).toEqual(['agent-away', 'mirror-away', 'pull-passes-by']);
      } finally {
        await agent.start();
      }
      expect(codesOf(await examine(containerd, `--mirror.listen=127.0.0.1:${registry.port}`))).toEqual([
        'hosts-toml-not-named',
        'hosts-toml-not-named',
        'mirror-strange',
      ]);
    });

    test('files and a socket that may not be read', async () => {
      const node = scratch.join('denied');
      await mkdir(node);
      const files = [`${node}/config.toml`, `${node}/c.sock`];
      for (const file of files) {
        await writeFile(file, '');
        await chown(file, 65_534, 65_534);
        await chmod(file, 0o600);
      }
      const [configFile = '', address = ''] = files;
      // Root, that may not read what is others'.
      const bounds = ['--bounding-set', '-dac_override,-dac_read_search', '--inh-caps', '-all', '--no-new-privs'];
      const args = [...bounds, '--', process.execPath, MAIN, 'doctor', ...flags({ configFile, address }), '--json'];
      const { code, stdout } = await tryCommand('setpriv', args);
      const { checks } = JSON.parse(stdout);
      expect({ code, found: codesOf(checks) }).toEqual({ code: 3, found: ['socket-denied', 'config_path-unknown'] });
      for (const { mend } of findingsOf(checks)) expect(mend).toMatch(/windlass doctor as root/);
    });
  });
}

describe('windlass doctor and other agents', () => {
  let scratch: Scratch;
  let cluster: AgentCluster;
  const CLOSED = '/ip4/127.0.0.1/tcp/9';

  beforeAll(async () => {
    scratch = await Scratch.create();
    cluster = await AgentCluster.start(scratch, {
      agents: 3,
      registries: { 'registry.example': 'http://127.0.0.1:9' },
      // The others are told an address at which it is not.
      settingsOf: (index) => (index === 2 ? { p2p: { announce: [CLOSED] } } : {}),
    });
  });
  afterAll(() => scratch?.dispose());

  const look = async (index: number) => {
    const { configPath, statusUrl } = cluster.agent(index);
    const status = await readStatus(statusUrl, AbortSignal.timeout(60_000));
    return { subject: await subjectWith([`--config=${configPath}`]), status };
  };

  test('reach each other on both ports, but for one that says a wrong address', async () => {
    const { subject, status } = await look(0);
    const { findings, seen } = await checkPeers(subject, status);
    expect(findings).toMatchObject([{ code: 'peers-unreachable-p2p', about: [expect.stringMatching(/^node-2 /)] }]);
    expect(seen).toBe('1 of 2 other agents can be reached on both ports');
    const fromWrong = await look(2);
    expect(await checkPeers(fromWrong.subject, fromWrong.status)).toMatchObject({ findings: [] });
  });

  test('cannot be reached on their data port, or are others than they should be', async () => {
    const { subject, status } = await look(2);
    const [first, second] = status.peers;
    const told = (dataAddress = '') => ({ ...status, peers: [{ ...(first ?? status.peers[0]), dataAddress }] });
    expect(await checkPeers(subject, told('127.0.0.1:9') as typeof status)).toMatchObject({
      findings: [{ code: 'peers-unreachable-peer', about: [expect.stringMatching(/^node-0 .*ECONNREFUSED/)] }],
    });
    expect(await checkPeers(subject, told(second?.dataAddress) as typeof status)).toMatchObject({
      findings: [{ code: 'peers-strange', about: [expect.stringMatching(/^node-0 .*another answers/)] }],
    });
  });

  test('are not there', async () => {
    const { subject, status } = await look(0);
    expect(await checkPeers(subject, { ...status, peers: [] })).toMatchObject({
      findings: [{ code: 'peers-none', severity: 'warning' }],
    });
  });
});

describe('windlass doctor and the machine', () => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  test.each([
    [0, []],
    [-7_200, ['clock-apart']],
    [7_200, ['clock-apart']],
  ])("a registry's clock that is %d s apart", async (seconds, codes) => {
    const server = createServer((_request, response) => {
      response
        .setHeader('date', new Date(Date.now() + seconds * 1000).toUTCString())
        .writeHead(401)
        .end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const entry = JSON.stringify([{ host: 'registry.example', endpoint: `http://127.0.0.1:${port}` }]);
      const { findings, skipped } = await checkClock(await subjectWith([`--registries=${entry}`]));
      expect({ skipped, codes: findings.map(({ code }) => code) }).toEqual({ skipped: false, codes });
    } finally {
      server.close();
    }
  });

  const root = rootMissing();
  test.skipIf(root !== undefined)('a disk that is full, one that is small, and one without inodes', async () => {
    const disk = scratch.join('disk');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=8m,nr_inodes=64', 'tmpfs', disk]);
    scratch.defer(() => run('umount', ['-l', disk]));
    const look = async (...more: string[]) => {
      const { findings } = await checkDisk(await subjectWith([`--store.path=${disk}/store`, ...more]));
      return findings.map(({ code }) => code);
    };
    expect(await look('--store.max-size=4MiB')).toEqual([]);
    expect(await look()).toEqual(['disk-small']);
    await writeFile(`${disk}/large`, Buffer.alloc(7 * 1024 * 1024));
    expect(await look()).toEqual(['disk-full']);
    await rm(`${disk}/large`);
    for (let count = 0; count < 61; count++) await writeFile(`${disk}/${count}`, '');
    expect(await look('--store.max-size=4MiB')).toEqual(['disk-inodes']);
  });

  test.skipIf(root !== undefined)('limits that are low; no containerd, no agent, no configuration', async () => {
    const script =
      'echo 100 > /proc/sys/net/core/somaxconn && echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@"';
    const nowhere = ['certs-dir', 'config-file', 'socket'].map(
      (one) => `--containerd.${one}=${scratch.join('nowhere')}`,
    );
    const args = ['doctor', '--json', '--root=/nonexistent', `--store.path=${scratch.path}`, ...nowhere];
    const { code, stdout, stderr } = await tryCommand('unshare', [
      ...['--net', '--user', '--map-root-user', 'sh', '-c', script, process.execPath, MAIN, ...args],
    ]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(codesOf(JSON.parse(stdout).checks)).toEqual([
      'agent-away',
      'socket-silent',
      'config-path-unset',
      'hosts-toml-no-file',
      'mirror-away',
      'limit-backlog',
      'limit-inotify',
    ]);
  });

  test('an agent whose limit of open files is under its settings', async () => {
    const agent = await AgentProcess.start(scratch, {
      registries: { 'registry.example': 'http://127.0.0.1:9' },
      settings: { mirror: { maxConnections: 1_000_000 } },
    });
    // That of AgentProcess's own listeners stays, and so does the rest of what is not there.
    const address = `127.0.0.1:${agent.mirrorPort}`;
    const more = ['--mirror.max-connections=1000000', `--mirror.listen=${address}`];
    expect(codesOf(await doctor([`--config=${agent.configPath}`, ...more], false))).toContain('limit-open-files');
  });
});
