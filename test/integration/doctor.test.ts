import { chmod, chown, cp, mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { socketCalls } from '../../src/containerd/socket-calls.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import type { CheckResult } from '../../src/doctor/finding.ts';
import { checkHosts } from '../../src/doctor/hosts-check.ts';
import { parseImageName } from '../../src/doctor/image-name.ts';
import { checkPull } from '../../src/doctor/pull-check.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { type CommandResult, run, tryCommand, which } from '../support/commands.ts';
import { Containerd } from '../support/containerd.ts';
import { codesOf, doctor, emptyRoot, findingsOf, subjectWith } from '../support/doctor.ts';
import { describeEachContainerd } from '../support/each-containerd.ts';
import { buildBusyboxImage } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { Scratch } from '../support/scratch.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const OLD = 'plugins."io.containerd.grpc.v1.cri"';
const NEW = 'plugins."io.containerd.cri.v1.images"';

/** What doctor asks for where a pattern is mirrored. */
const OF_PATTERN = 'windlass-doctor.pattern.example';

/** Nobody listens there. */
const AWAY = { host: 'unreachable.example', endpoint: 'http://127.0.0.1:9' };

/** Without a word of settings from where the tests run. */
function command(args: readonly string[]): Promise<CommandResult> {
  return tryCommand(process.execPath, [MAIN, ...args], { timeoutMs: 120_000 });
}

describeEachContainerd(
  { title: (containerd) => `${containerd} and windlass doctor`, commands: ['runc', 'busybox', 'unshare'] },
  ({ name, binaries }) => {
    const section = binaries.major === 1 ? OLD : NEW;
    const otherSection = section === OLD ? NEW : OLD;
    let scratch: Scratch;
    let root: string;
    let registry: RealRegistry;
    let agent: AgentProcess;
    let containerd: Containerd;
    let hostsDir: string;
    /** Both are this machine's: a pull that passes by the mirror goes nowhere else. */
    let hosts: string[];

    beforeAll(async () => {
      scratch = await Scratch.create();
      root = await emptyRoot(scratch);
      registry = await RealRegistry.start(scratch);
      hosts = [`127.0.0.1:${registry.port}`, `localhost:${registry.port}`];
      const registries = [...hosts.map((host) => ({ host, endpoint: registry.url })), '*.pattern.example', AWAY];
      agent = await AgentProcess.start(scratch, { settings: { registries } });
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
      return Containerd.start(scratch, binaries, { hostsDir, edit });
    }

    const flags = (node: Pick<Containerd, 'address' | 'configFile'> = containerd) => [
      `--config=${agent.configPath}`,
      `--containerd.certs-dir=${hostsDir}`,
      `--containerd.config-file=${node.configFile}`,
      `--containerd.socket=${node.address}`,
    ];
    const examine = (node: Pick<Containerd, 'address' | 'configFile'> = containerd, ...more: string[]) =>
      doctor([...flags(node), ...more], root);
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
      const args = ['doctor', '--timeout', '60', ...flags(), '--root', root];
      const { code, stdout, stderr } = await command(args);
      expect({ code, stderr, stdout }).toMatchObject({ code: 0, stderr: '' });
      expect(stdout).toMatch(/containerd v?[12]\.\S+ answers at/);
      expect(stdout).toMatch(/containerd pulled through the mirror from 4 of 4 registries/);
      expect(stdout.trimEnd()).toMatch(/Nothing is wrong: pulls go through the mirror\.$/);
      // No registry was needed for it, but for the time.
      expect((await registry.requests()).filter(({ path }) => path !== '/v2/')).toEqual([]);
      expect((await containerd.ctr(['images', 'ls', '--quiet'])).stdout).toBe('');

      const json = await command([...args, '--json', '--strict', '--image', `${hosts[0]}/a/b:1`]);
      const { ok, checks } = JSON.parse(json.stdout);
      expect({ code: json.code, ok, found: codesOf(checks) }).toEqual({ code: 0, ok: true, found: [] });
      for (const check of checks) expect(Object.keys(check)).toEqual(['check', 'seen', 'skipped', 'findings']);
      expect(of(checks, 'mirror')?.seen).toContain(`has ${hosts[0]}/a/b:1`);
      expect(of(checks, 'peers')).toMatchObject({ skipped: true });
    });

    test('an image that the registry does not have, one of a registry that is not mirrored, or cannot be reached', async () => {
      const images = [`${hosts[0]}/a/b:absent`, 'registry.invalid/a/b:1', 'unreachable.example/a/b:1'];
      const codes = images.map(async (image) => {
        const checks = await diagnose(await subjectWith(flags(), root), { pull: false, image: parseImageName(image) });
        return codesOf(checks);
      });
      expect(await Promise.all(codes)).toEqual([['image-not-found'], ['image-denied'], ['image-unavailable']]);
      const wrong = await command(['doctor', ...flags(), '--image', 'a b']);
      expect(wrong).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("--image <name>' argument 'a b' is invalid"),
      });
    });

    test('config_path is not set', () =>
      withConfig(
        (toml) => toml.replace(/config_path = .*/, ''),
        async (node) => {
          const checks = await examine(node);
          expect(codesOf(checks)).toEqual(['config-path-unset']);
          // It was tried, in case; the cause is said once.
          expect(of(checks, 'pull')).toMatchObject({
            skipped: true,
            seen: expect.stringMatching(/from 0 of 4 registries/),
          });
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
          expect(of(checks, 'pull')?.seen).toMatch(isRead ? /from 4 of 4/ : /from 0 of 4/);
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

    test('config_path and imports: a section that hides it in 1.x; a file of another version, and a list that is read, in 2.x', async () => {
      const dropIn = scratch.join('drop-in.toml');
      const importing = (toml: string) => toml.replace(/^version = \d/m, (line) => `${line}\nimports = ["${dropIn}"]`);
      if (section === OLD) {
        await writeFile(dropIn, `version = 2\n[${OLD}]\nmax_concurrent_downloads = 5\n`);
        await withConfig(importing, async (node) => {
          expect(findingsOf(await examine(node))).toMatchObject([
            { code: 'config-path-unset', severity: 'error', what: expect.stringContaining(`${dropIn} hides`) },
          ]);
          expect(await comesThrough(node)).toBe(false);
        });
        return;
      }
      await writeFile(dropIn, `version = 2\n[${OLD}.registry]\nconfig_path = "/elsewhere"\n`);
      await withConfig(importing, async (node) => {
        expect(codesOf(await examine(node))).toEqual(['config-path-elsewhere']);
        expect(await comesThrough(node)).toBe(false);
      });
      await writeFile(dropIn, `version = 2\n[${OLD}]\nmax_concurrent_downloads = 5\n`);
      const list = (toml: string) => importing(toml.replace(`"${hostsDir}"`, `"${hostsDir}:/etc/docker/certs.d"`));
      await withConfig(list, async (node) => {
        expect(codesOf(await examine(node))).toEqual([]);
        expect(await comesThrough(node)).toBe(true);
      });
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
        (toml) => {
          const on = toml.replace('discard_unpacked_layers = false', 'discard_unpacked_layers = true');
          // With it containerd 2.x pulls by itself, and reads a list.
          return section === OLD ? on : on.replace(`"${hostsDir}"`, `"${hostsDir}:/etc/docker/certs.d"`);
        },
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
        expect(of(checks, 'pull')?.seen, text).toContain('from 3 of 3');
      }
      await rm(hostsDir, { recursive: true });
      expect(findingsOf(await examine())).toMatchObject([
        { code: 'hosts-toml-no-file', about: [...hosts, OF_PATTERN, AWAY.host] },
      ]);
    });

    test('hosts.toml: _default serves all, unless a folder hides it; no folder, and links', async () => {
      for (const host of hosts) await rm(`${hostsDir}/${host}`, { recursive: true });
      expect(codesOf(await examine())).toEqual([]);
      // Of nobody: a file, and a folder that no registry is called like.
      await writeFile(`${hostsDir}/notes.pattern.example`, '');
      await mkdir(`${hostsDir}/backup`);
      expect(codesOf(await examine())).toEqual([]);
      const all = await checkHosts(await subjectWith([...flags(), '--registries=["*"]'], root));
      expect(all).toMatchObject({ mirrored: ['windlass-doctor.invalid', AWAY.host], findings: [] });
      await mkdir(`${hostsDir}/hiding.pattern.example`);
      expect(findingsOf(await examine())).toMatchObject([
        { code: 'hosts-toml-no-file', about: ['hiding.pattern.example'] },
      ]);
      await rm(`${hostsDir}/hiding.pattern.example`, { recursive: true });
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
      const denied = await doctor([...flags(), `--registries=[${more}]`], root, { pull: false });
      expect(findingsOf(denied)).toMatchObject([{ code: 'mirror-denies', about: ['more.invalid'] }]);
      await agent.kill('SIGSTOP');
      const silent = await doctor(flags(), root, { answerMs: 2_000 });
      expect(codesOf(silent)).toEqual(['agent-away', 'mirror-away']);
      expect(findingsOf(silent)[0]?.what).toMatch(/silent/);
      await agent.kill('SIGKILL');
      try {
        const away = await examine();
        expect(codesOf(away)).toEqual(['agent-away', 'mirror-away']);
        expect(of(away, 'pull')).toMatchObject({ skipped: true });
        expect(await comesThrough(containerd)).toBe(false);
      } finally {
        await agent.start();
      }
      expect(codesOf(await examine(containerd, `--mirror.listen=127.0.0.1:${registry.port}`))).toEqual([
        ...Array<string>(4).fill('hosts-toml-not-named'),
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
      const args = [
        ...bounds,
        '--',
        process.execPath,
        MAIN,
        'doctor',
        ...flags({ configFile, address }),
        '--root',
        root,
        '--json',
      ];
      const { code, stdout } = await tryCommand('setpriv', args);
      const { checks } = JSON.parse(stdout);
      expect({ code, found: codesOf(checks) }).toEqual({ code: 3, found: ['socket-denied', 'config_path-unknown'] });
      for (const { mend } of findingsOf(checks)) expect(mend).toMatch(/windlass doctor as root/);
    });
  },
);
