import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Packages that load a part compiled for one kind of machine, which is a package too, and optional. */
export const NATIVE_PACKAGES = ['@napi-rs/blake-hash'] as const;

interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedPackage {
  readonly version?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Puts them into `to`, each with its part for this machine, or for Linux with glibc on another.
 * @param root the folder with the lock file, and node_modules of this machine
 * @param cpu as Docker or Node names it
 * @returns their folders: `node_modules/…`
 * @throws if there is no such part
 */
export async function addNativePackages(root: string, to: string, cpu: string | undefined): Promise<string[]> {
  const { packages }: LockFile = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  const names = NATIVE_PACKAGES.flatMap((name) => [name, ...partsOf(packages, name)]);
  const locked = Object.fromEntries(names.map((name) => [pathOf(name), packages[pathOf(name)] ?? {}]));
  const installed = cpu === undefined ? undefined : await install(root, locked, cpu);
  try {
    const copied: string[] = [];
    for (const path of Object.keys(locked)) {
      if (await copyIfThere(join(installed ?? root, path), join(to, path))) copied.push(path);
    }
    for (const name of NATIVE_PACKAGES) {
      if (partsOf(packages, name).some((part) => copied.includes(pathOf(part)))) continue;
      throw new Error(`${name} has no part for ${cpu ?? process.arch}`);
    }
    return copied;
  } finally {
    if (installed !== undefined) await rm(installed, { recursive: true });
  }
}

/** By npm, which picks the parts for that machine and compares what comes with the lock file. @returns the folder */
async function install(root: string, locked: LockFile['packages'], cpu: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'windlass-build-'));
  const dependencies = Object.fromEntries(NATIVE_PACKAGES.map((name) => [name, locked[pathOf(name)]?.version]));
  const lock = { lockfileVersion: 3, packages: { '': { dependencies }, ...locked } };
  await writeFile(join(folder, 'package.json'), JSON.stringify({ dependencies }));
  await writeFile(join(folder, 'package-lock.json'), JSON.stringify(lock));
  await cp(join(root, '.npmrc'), join(folder, '.npmrc'));
  const machine = ['--os=linux', '--libc=glibc', `--cpu=${cpu === 'amd64' ? 'x64' : cpu}`];
  await promisify(execFile)('npm', ['ci', '--ignore-scripts', ...machine], { cwd: folder });
  return folder;
}

function partsOf(packages: LockFile['packages'], name: string): string[] {
  return Object.keys(packages[pathOf(name)]?.optionalDependencies ?? {});
}

function pathOf(name: string): string {
  return `node_modules/${name}`;
}

async function copyIfThere(from: string, to: string): Promise<boolean> {
  try {
    await cp(from, to, { recursive: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
