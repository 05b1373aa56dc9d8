import type { Command } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import { realFolder } from '../containerd/certs-dir.ts';
import { realDisk } from '../containerd/disk.ts';
import { Installation } from '../containerd/installation.ts';
import type { Outcome } from '../containerd/outcome.ts';
import { containerdPaths } from '../containerd/presets.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { inFolders } from './in-folders.ts';
import { REGISTRIES_CONF_DIR } from './runtimes.ts';
import { serviceAccountUid } from './service-account-uid.ts';
import { settingsCommand } from './settings-command.ts';

interface CleanupFlags {
  readonly registriesConfDir: string;
  readonly tombstone?: string;
  readonly tombstoneFrom?: string;
  readonly forget?: true;
  readonly stay?: true;
}

export function cleanupCommand(): Command {
  return settingsCommand('cleanup')
    .description(
      'Puts back, byte for byte, what was there before `windlass configure`, for every runtime. Leaves what somebody else changed since.',
    )
    .option('--registries-conf-dir <folder>', 'of CRI-O and podman', REGISTRIES_CONF_DIR)
    .option(
      '--tombstone <name>',
      'puts back what the installation of that name wrote, or one without a name; from now on its `windlass configure --install-id` does nothing',
    )
    .option('--tombstone-from <file>', 'a token of a service account, whose UID is the name')
    .option('--stay', 'then wait for SIGTERM, as the Pods of a DaemonSet must')
    .option('--forget', 'also forget what is left alone, and what was there before it')
    .action(async (flags: CleanupFlags, command: Command) => {
      const cwd = process.cwd();
      // From the start: told to end while it puts things back, it does that first.
      const told = flags.stay === true ? signalled() : undefined;
      const { settings } = await readSettings({ flags: command.args, env: process.env, cwd });
      const { certsDir } = containerdPaths(settings.containerd, cwd);
      const folders = [certsDir, flags.registriesConfDir];
      const tombstone = await tombstoneOf(flags);
      if (tombstone !== undefined) await setTombstone(tombstone, folders, settings.store.path);
      await inFolders(folders.map((folder) => ({ folder, work: (root) => undo(root, tombstone, flags) })));
      await told;
    });
}

async function tombstoneOf({ tombstone, tombstoneFrom }: CleanupFlags): Promise<string | undefined> {
  return tombstone ?? (tombstoneFrom === undefined ? undefined : serviceAccountUid(tombstoneFrom));
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => undefined, 2 ** 30);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        clearInterval(timer);
        resolve();
      });
    }
  });
}

/**
 * Before all else: from here on nobody writes anew what is put back below. None where another installation has taken
 * over: what this one's Pods would still write is that one's by now, and it alone says when that ends.
 */
async function setTombstone(name: string, folders: readonly string[], storePath: string): Promise<void> {
  for (const folder of folders) {
    const owner = await ownerOf(folder);
    if (!isAnother(owner, name)) continue;
    process.stdout.write(`no tombstone is set: the installation ${owner} has taken over ${folder}\n`);
    return;
  }
  await new Tombstone(storePath, realDisk).set(name);
}

async function ownerOf(folder: string): Promise<string | undefined> {
  try {
    return (await Installation.open(await realFolder(folder), realDisk)).installId;
  } catch {
    // Said where it is to be put back.
    return undefined;
  }
}

function isAnother(owner: string | undefined, name: string): boolean {
  return owner !== undefined && owner !== name;
}

async function undo(
  root: string,
  tombstone: string | undefined,
  { forget }: CleanupFlags,
): Promise<readonly Outcome[]> {
  const installation = await Installation.open(root, realDisk);
  const owner = installation.installId;
  if (tombstone !== undefined && isAnother(owner, tombstone)) {
    return [{ path: root, kind: 'skipped', why: `the installation ${owner} has taken it over` }];
  }
  return installation.undo({ forget: forget === true });
}
