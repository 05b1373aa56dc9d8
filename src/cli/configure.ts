import type { Command } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import type { Settings } from '../config/settings.ts';
import { type WantedHosts, wantedHosts } from '../containerd/certs-dir.ts';
import { readContainerdConfig } from '../containerd/config-files.ts';
import { configPathFaults } from '../containerd/config-path.ts';
import { realDisk } from '../containerd/disk.ts';
import { Installation } from '../containerd/installation.ts';
import { mirrorAddress } from '../containerd/mirror-address.ts';
import type { Outcome } from '../containerd/outcome.ts';
import { containerdPaths } from '../containerd/presets.ts';
import { wantedRegistries } from '../containerd/registries-dir.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { type FolderTask, inFolders } from './in-folders.ts';
import { messageOf } from './message-of.ts';
import { parseRuntimes, REGISTRIES_CONF_DIR, type Runtime } from './runtimes.ts';
import { serviceAccountUid } from './service-account-uid.ts';
import { settingsCommand } from './settings-command.ts';
import { settingsHelp } from './settings-help.ts';

interface ConfigureFlags {
  readonly runtime: ReadonlySet<Runtime>;
  readonly registriesConfDir: string;
  readonly installId?: string;
  readonly installIdFrom?: string;
}

export function configureCommand(): Command {
  return settingsCommand('configure')
    .description(
      "Makes this node's container runtime ask the mirror first. Keeps what is there; `windlass cleanup` puts it back.",
    )
    .option('--runtime <names>', 'containerd, cri-o, podman', parseRuntimes, parseRuntimes('containerd'))
    .option('--registries-conf-dir <folder>', 'of CRI-O and podman', REGISTRIES_CONF_DIR)
    .option('--install-id <name>', 'the name of this installation: does nothing if cleanup --tombstone named the same')
    .option('--install-id-from <file>', 'a token of a service account, whose UID is the name')
    .addHelpText('after', () => `\n${settingsHelp()}`)
    .action(async (flags: ConfigureFlags, command: Command) => {
      const cwd = process.cwd();
      const { settings } = await readSettings({ flags: command.args, env: process.env, cwd });
      await configure(settings, { ...flags, ...(await installId(flags)) }, cwd);
    });
}

async function installId({ installId, installIdFrom }: ConfigureFlags): Promise<{ installId?: string }> {
  if (installId !== undefined) return { installId };
  return installIdFrom === undefined ? {} : { installId: await serviceAccountUid(installIdFrom) };
}

async function configure(settings: Settings, flags: ConfigureFlags, cwd: string): Promise<void> {
  const address = mirrorAddress(settings.mirror.listen);
  const { certsDir, configFile } = containerdPaths(settings.containerd, cwd);
  const tombstone = new Tombstone(settings.store.path, realDisk);
  const install = async (
    root: string,
    wanted: (installation: Installation) => Promise<WantedHosts>,
  ): Promise<readonly Outcome[]> => {
    // With the lock: a cleanup sets its tombstone first, and then waits for the lock to undo what was written before.
    if (await isTakenAway(tombstone, flags.installId)) return [];
    const installation = await Installation.open(root, realDisk);
    const { files, foregone } = await wanted(installation);
    return [...(await installation.apply(files, flags.installId)), ...foregone];
  };
  const containerd: FolderTask = {
    folder: certsDir,
    work: (root) =>
      install(root, (installation) => wantedHosts(root, `http://${address}`, settings.registries, installation)),
  };
  const registriesConf: FolderTask = {
    folder: flags.registriesConfDir,
    work: (root) => install(root, () => wantedRegistries(root, address, settings.registries)),
  };
  const isFor = (runtime: Runtime) => flags.runtime.has(runtime);
  await inFolders([...(isFor('containerd') ? [containerd] : []), ...(isFor('cri-o') ? [registriesConf] : [])]);
  if (isFor('containerd')) await advise(configFile, certsDir);
}

async function advise(configFile: string, certsDir: string): Promise<void> {
  try {
    for (const { what, mend } of configPathFaults(await readContainerdConfig(configFile), certsDir)) {
      process.stderr.write(`containerd's configuration: ${what}. To mend it: ${mend}\n`);
    }
  } catch (error) {
    // What was to be done is done.
    process.stderr.write(`containerd's configuration cannot be read: ${messageOf(error)}\n`);
  }
}

/** Taken away while Pods of it still start. Another installation than the one that is gone has the say. */
async function isTakenAway(tombstone: Tombstone, installId: string | undefined): Promise<boolean> {
  const gone = await tombstone.read();
  if (gone === undefined) return false;
  if (installId !== undefined && installId !== gone) {
    await tombstone.remove();
    return false;
  }
  process.stdout.write(
    `nothing is written, and this node pulls without the mirror: windlass cleanup --tombstone ${gone} has taken this installation away. If it is to stay, give it another name: --install-id, which is configure.installId of the chart (or remove ${tombstone.path})\n`,
  );
  return true;
}
