import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../support/commands.ts';
import type { Scratch } from '../../support/scratch.ts';
import { isLive } from './run-id.ts';

/** In a scratch folder: the id of the run that it belongs to. */
const OWNER_FILE = 'lab-run';
const NAMESPACE = /^(wl-\d+-\d+)-\w+$/;

/** Says in a scratch folder whose it is, so that a later run can tell when it is nobody's any more. */
export async function own(scratch: Scratch, runId: string): Promise<void> {
  await writeFile(scratch.join(OWNER_FILE), runId);
}

/** Removes what runs left behind that were killed: their processes, namespaces and folders. Never those of a live one. */
export async function removeLeftovers(): Promise<void> {
  for (const namespace of await namespaces()) {
    const [, runId] = NAMESPACE.exec(namespace) ?? [];
    if (runId !== undefined && !isLive(runId)) await removeNamespace(namespace);
  }
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith('wl-')) continue;
    const folder = join(tmpdir(), name);
    const runId = await readFile(join(folder, OWNER_FILE), 'utf8').catch(() => undefined);
    if (runId !== undefined && !isLive(runId)) await rm(folder, { recursive: true, force: true });
  }
}

/** Removes a namespace of ours; what still runs in it is killed. Nothing happens if there is none. */
export async function removeNamespace(namespace: string): Promise<void> {
  if (!(await namespaces()).includes(namespace)) return;
  const { stdout } = await run('ip', ['netns', 'pids', namespace]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  await run('ip', ['netns', 'del', namespace]);
}

async function namespaces(): Promise<string[]> {
  const { stdout } = await run('ip', ['netns', 'list']);
  return stdout
    .split('\n')
    .flatMap((line) => line.split(' ', 1))
    .filter((name) => name !== '');
}
