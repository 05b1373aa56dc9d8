import { copyFile, cp, mkdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run, which } from './commands.ts';

/** Which settings of npm say how its registry is reached. */
const NPM_SETTINGS = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl'];
const CA_FILE = '/etc/ssl/npm-ca.pem';
/** Where the cache of this machine's npm is to be mounted. */
export const NPM_CACHE = '/npm-cache';

/** A folder that stands for `node:24-bookworm-slim`: this Node, this machine's npm, and busybox as shell and commands. */
export async function stageNodeBase(folder: string): Promise<void> {
  await stageBase(folder);
  const bin = join(folder, 'usr/local/bin');
  await mkdir(bin, { recursive: true });
  await copyFile(process.execPath, join(bin, 'node'));
  // Node by itself may have come without it.
  await writeFile(join(folder, 'usr/local/LICENSE'), 'Node.js is licensed for use as follows:\n');

  const npm = join(folder, 'usr/local/lib/node_modules/npm');
  await cp(await npmFolder(), npm, { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'));
  await mkdir(join(folder, 'usr/local/etc'), { recursive: true });
  await writeFile(join(folder, 'usr/local/etc/npmrc'), await npmrc(folder));

  const busybox = which('busybox') ?? '';
  for (const place of ['bin', 'usr/bin', 'root']) await mkdir(join(folder, place), { recursive: true });
  await copyFile(busybox, join(folder, 'bin/busybox'));
  for (const command of (await run(busybox, ['--list'])).stdout.trim().split('\n')) {
    if (command !== 'busybox') await symlink('/bin/busybox', join(folder, 'bin', command));
  }
  await symlink('/bin/busybox', join(folder, 'usr/bin/env'));
}

/** A folder that stands for distroless's `cc`: its Debian packages' libraries, and nothing to run. */
export async function stageBase(folder: string): Promise<void> {
  await mkdir(join(folder, 'tmp'), { recursive: true });
  const { stdout } = await run('dpkg', ['--listfiles', 'libc6', 'libgcc-s1', 'libstdc++6']);
  for (const path of stdout.split('\n').filter((line) => /\.so(?:\.\d+)*$/.test(line) && !line.includes('/gconv/'))) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await copyFile(path, join(folder, path));
  }
}

/** Of npm itself; the one of Debian's package cannot be moved. */
export async function npmFolder(): Promise<string> {
  return dirname(dirname(await realpath(which('npm') ?? '')));
}

/** So that npm reaches its registry in there as it does here. */
async function npmrc(folder: string): Promise<string> {
  const lines = [`cache=${NPM_CACHE}`, 'prefer-offline=true', 'update-notifier=false'];
  for (const key of NPM_SETTINGS) {
    const value = await npmSetting(key);
    if (value !== undefined) lines.push(`${key}=${value}`);
  }
  const ca = (await npmSetting('cafile')) ?? process.env.NODE_EXTRA_CA_CERTS;
  if (ca !== undefined) {
    await mkdir(join(folder, dirname(CA_FILE)), { recursive: true });
    await writeFile(join(folder, CA_FILE), await readFile(ca));
    lines.push(`cafile=${CA_FILE}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Undefined where it is not set. */
export async function npmSetting(key: string): Promise<string | undefined> {
  const value = (await run('npm', ['config', 'get', key])).stdout.trim();
  return ['', 'null', 'undefined'].includes(value) ? undefined : value;
}
