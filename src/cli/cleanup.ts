import { Command } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import { realFolder } from '../containerd/certs-dir.ts';
import { realDisk } from '../containerd/disk.ts';
import { withFolderLock } from '../containerd/folder-lock.ts';
import { Installation } from '../containerd/installation.ts';
import type { Outcome } from '../containerd/outcome.ts';
import { containerdPaths } from '../containerd/presets.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { reportOutcomes } from './report-outcomes.ts';
import { REGISTRIES_CONF_DIR } from './runtimes.ts';

const LOCK_MS = 30_000;

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
      .option('--tombstone <name>', 'from now on `windlass configure --install-id` of that name does nothing')
      .option('--forget', 'also forget what is left alone, and what was there before it')
      // As of the agent: the settings that say where the folders are.
      .allowUnknownOption()
      .allowExcessArguments()
      .action(async (flags: CleanupFlags, command: Command) => {
        const cwd = process.cwd();
        const { settings } = await readSettings({ flags: command.args, env: process.env, cwd });
        // Before all else: from here on nobody writes anew what is put back below.
        if (flags.tombstone !== undefined) await new Tombstone(settings.store.path, realDisk).set(flags.tombstone);
        const { certsDir } = containerdPaths(settings.containerd, cwd);
        const outcomes: Outcome[] = [];
        for (const folder of [certsDir, flags.registriesConfDir]) outcomes.push(...(await undo(folder, flags)));
        reportOutcomes(outcomes);
      })
  );
}

async function undo(folder: string, { forget }: CleanupFlags): Promise<Outcome[]> {
  const root = await realFolder(folder);
  return withFolderLock(root, LOCK_MS, async () =>
    (await Installation.open(root, realDisk)).undo({ forget: forget === true }),
  );
}
