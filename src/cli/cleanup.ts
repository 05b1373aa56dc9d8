import { Command } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import { realFolder } from '../containerd/certs-dir.ts';
import { realDisk } from '../containerd/disk.ts';
import { Installation } from '../containerd/installation.ts';
import type { Outcome } from '../containerd/outcome.ts';
import { containerdPaths } from '../containerd/presets.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { inFolders } from './in-folders.ts';
import { REGISTRIES_CONF_DIR } from './runtimes.ts';

interface CleanupFlags {
  readonly registriesConfDir: string;
  readonly tombstone?: string;
  readonly forget?: true;
}

export function cleanupCommand(): Command {
  return (
    new Command('cleanup')
      .description(
        'Puts back, byte for byte, what was there before `windlass configure`, for every runtime. Leaves what somebody else changed since.',
      )
      .usage('[--config FILE] [--SETTING VALUE]…')
      .option('--registries-conf-dir <folder>', 'of CRI-O and podman', REGISTRIES_CONF_DIR)
      .option(
        '--tombstone <name>',
        'puts back what the installation of that name wrote, or one without a name; from now on its `windlass configure --install-id` does nothing',
      )
      .option('--forget', 'also forget what is left alone, and what was there before it')
      // As of the agent: the settings that say where the folders are.
      .allowUnknownOption()
      .allowExcessArguments()
      .action(async (flags: CleanupFlags, command: Command) => {
        const cwd = process.cwd();
        const { settings } = await readSettings({ flags: command.args, env: process.env, cwd });
        const { certsDir } = containerdPaths(settings.containerd, cwd);
        const folders = [certsDir, flags.registriesConfDir];
        if (flags.tombstone !== undefined) await setTombstone(flags.tombstone, folders, settings.store.path);
        await inFolders(folders.map((folder) => ({ folder, work: (root) => undo(root, flags) })));
      })
  );
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

async function undo(root: string, { forget, tombstone }: CleanupFlags): Promise<readonly Outcome[]> {
  const installation = await Installation.open(root, realDisk);
  const owner = installation.installId;
  if (tombstone !== undefined && isAnother(owner, tombstone)) {
    return [{ path: root, kind: 'skipped', why: `the installation ${owner} has taken it over` }];
  }
  return installation.undo({ forget: forget === true });
}
