import { chmod, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FileTree, readTree } from '../../support/file-tree.ts';
import { type Ended, run, start } from './child.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'windlass-configure-'));
  await mkdir(join(cwd, 'store'));
  await writeFile(
    join(cwd, 'windlass.yaml'),
    'containerd: { certsDir: certs.d, configFile: config.toml }\nstore: { path: store }\nregistries: [docker.io, quay.io]\n',
  );
  const section = '[plugins."io.containerd.cri.v1.images".registry]';
  await writeFile(join(cwd, 'config.toml'), `version = 3\n${section}\nconfig_path = "${join(cwd, 'certs.d')}"\n`);
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

const windlass = (...args: string[]): Promise<Ended> => run(process.execPath, [MAIN, ...args], { cwd });
const SETTINGS = ['--config', 'windlass.yaml', '--registries-conf-dir', 'registries.conf.d'];

async function put(path: string, content: string): Promise<string> {
  const file = join(cwd, path);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, content);
  return file;
}

async function written(): Promise<string[]> {
  const tree: FileTree = await readTree(cwd);
  return Object.keys(tree).filter((path) => path.endsWith('/hosts.toml') || path.endsWith('.conf'));
}

// Each starts several processes.
describe('windlass configure', { timeout: 60_000 }, () => {
  test('writes a file for each registry, and windlass cleanup takes all of it away', async () => {
    const before = await readTree(cwd);
    expect(await windlass('configure', ...SETTINGS)).toEqual({
      code: 0,
      stderr: '',
      stdout: ['docker.io', 'quay.io'].map((host) => `written: ${cwd}/certs.d/${host}/hosts.toml\n`).join(''),
    });
    expect(await windlass('configure', ...SETTINGS)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^(as it should be: .*\n){2}$/),
    });
    expect(await windlass('cleanup', ...SETTINGS)).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^(removed: .*\n){2}$/),
    });
    expect(await readTree(cwd)).toEqual(before);
    expect(await windlass('cleanup', ...SETTINGS)).toEqual({ code: 0, stderr: '', stdout: '' });
  });

  test('writes for CRI-O and podman where it is told to', async () => {
    const before = await readTree(cwd);
    const { code } = await windlass('configure', ...SETTINGS, '--runtime', 'podman,containerd');
    expect({ code, written: await written() }).toEqual({
      code: 0,
      written: ['certs.d/docker.io/hosts.toml', 'certs.d/quay.io/hosts.toml', 'registries.conf.d/50-windlass.conf'],
    });
    await windlass('configure', ...SETTINGS, '--runtime', 'cri-o', '--registries', 'ghcr.io');
    await windlass('cleanup', ...SETTINGS);
    expect(await readTree(cwd)).toEqual(before);
  });

  test('leaves alone what somebody else changed: exit code 3, as of the cleanup, on stderr', async () => {
    const file = await put('certs.d/docker.io/hosts.toml', 'server = "https://a"\n');
    await chmod(file, 0o640);
    await windlass('configure', ...SETTINGS);
    await writeFile(file, '# changed\n', { flag: 'a' });
    for (const command of ['configure', 'cleanup']) {
      const { code, stderr } = await windlass(command, ...SETTINGS);
      expect({ code, stderr }).toEqual({
        code: 3,
        stderr: expect.stringMatching(/^left alone: .*docker\.io\/hosts\.toml: /),
      });
    }
    expect(await written()).toEqual(['certs.d/docker.io/hosts.toml']);
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect(await windlass('cleanup', ...SETTINGS, '--forget')).toMatchObject({ code: 3 });
    expect(await windlass('cleanup', ...SETTINGS)).toMatchObject({ code: 0 });
  });

  test("says what is wrong in containerd's configuration, and does not touch it", async () => {
    const text = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/a:/b"\n';
    const file = await put('config.toml', text);
    const before = await stat(file);
    const { code, stderr } = await windlass('configure', ...SETTINGS);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^containerd's configuration: config_path .* is a list, "\/a:\/b".*To mend it: .*\n$/);
    expect((await stat(file)).ino).toBe(before.ino);
  });

  test('does nothing for an installation that is taken away, until there is another', async () => {
    await windlass('configure', ...SETTINGS, '--install-id', 'first');
    expect(await windlass('cleanup', ...SETTINGS, '--tombstone', 'first')).toMatchObject({ code: 0 });
    for (const id of [['--install-id', 'first'], []]) {
      const { code, stdout } = await windlass('configure', ...SETTINGS, ...id);
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^nothing is written, .* first .*configure\.installId/),
      });
    }
    expect(await written()).toEqual([]);
    expect(await windlass('configure', ...SETTINGS, '--install-id', 'second')).toMatchObject({ code: 0 });
    expect(await written()).toHaveLength(2);
    // By hand as well: nothing is gone any more.
    expect(await windlass('configure', ...SETTINGS)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/as it should be/),
    });
  });

  test("takes the name of an installation from a service account's token, as a Pod has it", async () => {
    const claims = { 'kubernetes.io': { serviceaccount: { name: 'windlass', uid: 'first' } } };
    const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
    const token = await put('token', `e30.${payload}.c2VhbA`);
    await windlass('configure', ...SETTINGS, '--install-id-from', token);
    expect(await windlass('cleanup', ...SETTINGS, '--tombstone-from', token)).toMatchObject({ code: 0 });
    expect((await windlass('configure', ...SETTINGS, '--install-id-from', token)).stdout).toMatch(
      /^nothing is .* first /,
    );
    expect(await windlass('configure', ...SETTINGS, '--install-id', 'second')).toMatchObject({ code: 0 });

    await writeFile(token, '');
    expect(await windlass('configure', ...SETTINGS, '--install-id-from', token)).toMatchObject({ code: 2, stdout: '' });
    expect(await windlass('cleanup', ...SETTINGS, '--tombstone-from', join(cwd, 'none'))).toMatchObject({ code: 2 });
    // A name that is not known must not be taken for none: everything is still there.
    expect(await written()).toHaveLength(2);
  });

  test('tells a Pod that all is well where something was left alone, and nothing else', async () => {
    await windlass('configure', ...SETTINGS);
    await writeFile(join(cwd, 'certs.d/docker.io/hosts.toml'), '# changed\n', { flag: 'a' });
    for (const command of ['configure', 'cleanup']) {
      expect(await windlass('--tolerate-left', command, ...SETTINGS)).toMatchObject({
        code: 0,
        stderr: expect.stringMatching(/^left alone: /),
      });
    }
    expect(await windlass('--tolerate-left', 'configure', '--store.path=')).toMatchObject({ code: 2 });
    await put('certs.d/.windlass/record.json', '{}');
    expect(await windlass('--tolerate-left', 'cleanup', ...SETTINGS)).toMatchObject({ code: 1 });
  });

  test('cleanup --stay ends when it is told to', async () => {
    await windlass('configure', ...SETTINGS);
    const child = start(process.execPath, [MAIN, 'cleanup', ...SETTINGS, '--stay'], { cwd });
    await child.untilStdout(/^(removed: .*\n){2}$/);
    child.kill('SIGTERM');
    expect(await child.ended).toMatchObject({ code: 0, stderr: '' });
  });

  test('a late cleanup of an installation that is gone leaves the next one alone, also where that had nothing to write', async () => {
    const both = [...SETTINGS, '--runtime', 'containerd,cri-o'];
    const before = await readTree(cwd);
    await windlass('configure', ...both, '--install-id', 'first');
    expect((await windlass('configure', ...SETTINGS, '--install-id', 'second')).stdout).toMatch(
      /^(as it should be: .*\n){2}$/,
    );
    // By hand it stays the second one's.
    await windlass('configure', ...SETTINGS);
    const { code, stderr, stdout } = await windlass('cleanup', ...SETTINGS, '--tombstone', 'first');
    expect({ code, stderr, lines: stdout.split('\n') }).toEqual({
      code: 0,
      stderr: '',
      lines: [
        `no tombstone is set: the installation second has taken over ${cwd}/certs.d`,
        `skipped: ${cwd}/certs.d: the installation second has taken it over`,
        `removed: ${cwd}/registries.conf.d/50-windlass.conf`,
        '',
      ],
    });
    expect(await written()).toEqual(['certs.d/docker.io/hosts.toml', 'certs.d/quay.io/hosts.toml']);
    expect(await windlass('cleanup', ...SETTINGS, '--tombstone', 'second')).toMatchObject({ code: 0, stderr: '' });
    expect(await readTree(cwd)).toEqual({
      ...before,
      'store/uninstalled': expect.objectContaining({ content: 'second\n' }),
    });
  });

  test('a cleanup with a tombstone puts back what has no name, and one without a tombstone everything', async () => {
    await windlass('configure', ...SETTINGS);
    expect((await windlass('cleanup', ...SETTINGS, '--tombstone', 'any')).stdout).toMatch(/^(removed: .*\n){2}$/);
    await windlass('configure', ...SETTINGS, '--install-id', 'first');
    expect((await windlass('cleanup', ...SETTINGS)).stdout).toMatch(/^(removed: .*\n){2}$/);
  });

  test('a folder where it fails hides nothing of what was done in another: exit code 1', async () => {
    await put('certs.d/.windlass/record.json', '{}');
    const failure = expect.stringMatching(/^windlass: .*certs\.d\/\.windlass\/record\.json tells what was in .*\n$/);
    const conf = `${cwd}/registries.conf.d/50-windlass.conf`;
    expect(await windlass('configure', ...SETTINGS, '--runtime', 'containerd,cri-o')).toEqual({
      code: 1,
      stderr: failure,
      stdout: `written: ${conf}\n`,
    });
    expect(await windlass('cleanup', ...SETTINGS)).toEqual({ code: 1, stderr: failure, stdout: `removed: ${conf}\n` });
    await put('registries.conf.d/.windlass/record.json', '{}');
    expect((await windlass('cleanup', ...SETTINGS)).stderr.match(/^windlass: .* tells what was in /gm)).toHaveLength(2);
  });

  test("is done, and says so, where containerd's configuration cannot be read", async () => {
    await mkdir(join(cwd, 'folder'));
    expect(await windlass('configure', ...SETTINGS, '--containerd.config-file', 'folder')).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^containerd's configuration cannot be read: EISDIR.*\n$/),
      stdout: expect.stringMatching(/^(written: .*\n){2}$/),
    });
  });

  test('works at another path of the same folder, as a Pod has it', async () => {
    await put('certs.d/docker.io/hosts.toml', 'server = "https://a"\n');
    const before = await readTree(cwd);
    await windlass('configure', ...SETTINGS);
    await rename(join(cwd, 'certs.d'), join(cwd, 'mounted'));
    expect(await windlass('cleanup', ...SETTINGS, '--containerd.certs-dir', 'mounted')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^put back: .*mounted\/docker\.io.*\nremoved: .*mounted\/quay\.io.*\n$/),
    });
    await rename(join(cwd, 'mounted'), join(cwd, 'certs.d'));
    expect(await readTree(cwd)).toEqual(before);
  });

  test('begins with what a distribution wrote in place of ours, as K3s does when it starts', async () => {
    const file = await put('certs.d/docker.io/hosts.toml', 'server = "https://a"\n');
    await windlass('configure', ...SETTINGS);
    await writeFile(file, 'server = "https://b"\n[host."https://corp"]\n');
    await rm(join(cwd, 'certs.d/quay.io'), { recursive: true });
    const before = await readTree(cwd);
    expect(await windlass('configure', ...SETTINGS)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^(written: .*\n){2}$/),
    });
    expect(await windlass('cleanup', ...SETTINGS)).toMatchObject({ code: 0, stderr: '' });
    const left = Object.entries(before).filter(([path]) => !path.includes('.windlass'));
    expect(await readTree(cwd)).toEqual(Object.fromEntries(left));
  });

  test.each([
    ['a runtime that is none', ['--runtime', 'docker'], /write containerd, cri-o, podman/],
    ['a port that nobody knows', ['--mirror.listen=127.0.0.1:0'], /mirror\.listen leaves the port to the system/],
    ['an unknown setting', ['--containerd.certs-dri=/x'], /did you mean .*certs/],
  ])('refuses %s: exit code 2', async (_name, args, message) => {
    const { code, stdout, stderr } = await windlass('configure', ...SETTINGS, ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(await written()).toEqual([]);
  });
});
