import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const HIERARCHIES = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'systemd'].map(
  (name) => join(ROOT, name),
);

/** Why nodes cannot have cgroups of their own here; undefined: they can. */
export const cgroupsMissing = HIERARCHIES.every((path) => existsSync(path)) ? undefined : 'wants version 1 of cgroups';

/** A cgroup of that path in every hierarchy; a kubelet makes its own below it. */
export async function makeCgroup(path: string): Promise<void> {
  for (const hierarchy of HIERARCHIES) await mkdir(join(hierarchy, path), { recursive: true });
  // Empty in a new cpuset, from the top on; no process may enter it so.
  const names = path.split('/');
  for (const [i] of names.entries()) {
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const all = await readFile(join(ROOT, 'cpuset', file), 'utf8');
      await writeFile(join(ROOT, 'cpuset', ...names.slice(0, i + 1), file), all);
    }
  }
}

/** With all below it. What still has processes stays: a kubelet is 3 s slower over each that is left. */
export async function removeCgroup(path: string): Promise<void> {
  for (const hierarchy of [...HIERARCHIES, join(ROOT, 'unified')]) await removeTree(join(hierarchy, path));
}

async function removeTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  await rmdir(folder).catch(() => {});
}
