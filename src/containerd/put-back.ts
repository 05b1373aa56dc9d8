import { basename, dirname, join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Disk } from './disk.ts';
import { type FileState, findFile, isSame } from './file-state.ts';
import { unless } from './if-there.ts';
import type { RecordEntry } from './install-record.ts';
import { left, type Outcome } from './outcome.ts';

/** Where a file is written before it takes its name. Nobody reads it there: no `hosts.toml`, no `*.conf`, no `*.crt`. */
export function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.windlass`);
}

/**
 * Puts back what was at a path before us; again, after a crash. A file that somebody else changed stays.
 * @returns nothing where nothing was to be done
 */
export async function putBack(entry: RecordEntry, backup: string, disk: Disk): Promise<Outcome[]> {
  const { path, prior } = entry;
  try {
    await unless(disk.remove(temporaryOf(path)), 'ENOENT', 'ENOTDIR');
    const { state } = await findFile(path);
    if (isSame(state, prior)) return [];
    if (!entry.written.some((one) => isSame(one, state))) {
      return [left(path, `somebody else changed it since windlass configure wrote it; ${keptAt(prior, backup)}`)];
    }
    if (prior.kind === 'absent') {
      await disk.remove(path);
      return [{ path, kind: 'removed' }];
    }
    const kept = await findFile(backup);
    if (!isSame(kept.state, prior)) return [left(path, `somebody else changed ${backup}, what was there before`)];
    await restore(path, backup, kept, disk);
    return [{ path, kind: 'restored' }];
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return [left(path, `it cannot be put back (${code}); ${keptAt(prior, backup)}`)];
  }
}

async function restore(
  path: string,
  backup: string,
  { state, bytes, mode }: Awaited<ReturnType<typeof findFile>>,
  disk: Disk,
): Promise<void> {
  try {
    await disk.rename(backup, path);
  } catch (error) {
    // Another file system is mounted there.
    if (systemCode(error) !== 'EXDEV') throw error;
    const temporary = temporaryOf(path);
    if (state.kind === 'link') await disk.makeLink(state.target, temporary);
    else if (bytes !== undefined && mode !== undefined) await disk.write(temporary, bytes, mode);
    await disk.rename(temporary, path);
  }
}

function keptAt(prior: FileState, backup: string): string {
  return prior.kind === 'absent' ? 'before, there was none' : `what was there before is ${backup}`;
}
