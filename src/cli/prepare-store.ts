import { chown, lchown, mkdir, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import { settingsCommand } from './settings-command.ts';

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export function prepareStoreCommand(): Command {
  return settingsCommand('prepare-store')
    .description(
      'Makes the folder of the store, and gives it and all that is in it to the user that the agent runs as.',
    )
    .usage('--owner UID:GID [--config FILE] [--SETTING VALUE]…')
    .requiredOption('--owner <uid:gid>', 'as in 65532:65532', parseOwner)
    .action(async ({ owner }: { readonly owner: Owner }, command: Command) => {
      const cwd = process.cwd();
      const { settings } = await readSettings({ flags: command.args, env: process.env, cwd });
      await giveFolder(resolve(cwd, settings.store.path), owner);
    });
}

function parseOwner(text: string): Owner {
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) throw new InvalidArgumentError('write two numbers, as in 65532:65532');
  return { uid: Number(uid), gid: Number(gid) };
}

/** The folder itself comes last: as long as it is not theirs, what was killed half way is done again. */
async function giveFolder(folder: string, { uid, gid }: Owner): Promise<void> {
  await mkdir(folder, { recursive: true });
  const now = await stat(folder);
  if (now.uid === uid && now.gid === gid) return;
  for (const name of await readdir(folder, { recursive: true })) await lchown(join(folder, name), uid, gid);
  await chown(folder, uid, gid);
}
