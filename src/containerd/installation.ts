import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '../errors.ts';
import { type Disk, ownIds } from './disk.ts';
import { type FileState, type Found, fileState, findFile, isSame, NOTHING } from './file-state.ts';
import { byDepth, exists, isIn, missingFolders } from './folder-paths.ts';
import { unless } from './if-there.ts';
import { InstallRecord, type RecordEntry } from './install-record.ts';
import { endOfLink, leadsThrough } from './link-path.ts';
import { left, type Outcome } from './outcome.ts';
import { putBack, temporaryOf } from './put-back.ts';

/** A file that is to hold something of ours. */
export interface WantedFile {
  /** Absolute, below the root. */
  readonly path: string;
  /** @param prior what it held before us; undefined where it was not there. */
  content(prior: Uint8Array | undefined): WantedContent;
  /** Is anything of ours in this, whatever somebody else made of it? */
  holdsOurs(bytes: Uint8Array): boolean;
}

export type WantedContent =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** It is right without us. */
  | { readonly kind: 'fine' }
  | { readonly kind: 'refused'; readonly why: string };

interface Write {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly state: Extract<FileState, { kind: 'file' }>;
  /** What is there now. */
  readonly found: Found;
  readonly prior: FileState;
}

const CHANGED = 'somebody else changed it since windlass configure wrote it; it stays as it is';

/**
 * Files of ours in a folder of somebody else's: `apply` writes them, `undo` puts back what was there, after any number
 * of `apply` with different wishes and after a crash at any moment of either. A file that is neither as it was nor as we
 * wrote it (bytes, mode, owner) was changed by somebody else, and is never touched. Only where nothing of ours is left (a
 * distribution that writes its files anew) is that what was there from then on.
 *
 * ```
 *  what was there ──keep a second name──▶ noted ──▶ temporary file ──rename──▶ ours ──rename──▶ what was there
 *                   (.windlass/…)         (record.json)                            (the second name)
 * ```
 */
export class Installation {
  readonly #root: string;
  readonly #disk: Disk;
  readonly #record: InstallRecord;

  private constructor(root: string, disk: Disk, record: InstallRecord) {
    this.#root = root;
    this.#disk = disk;
    this.#record = record;
  }

  /**
   * @param root without symbolic links in it; it need not exist.
   * @throws RECORD_UNUSABLE
   */
  static async open(root: string, disk: Disk): Promise<Installation> {
    return new Installation(root, disk, await InstallRecord.open(root, disk));
  }

  /** The installation that wrote last; undefined where that has no name, or nothing is noted. */
  get installId(): string | undefined {
    return this.#record.notes.installId;
  }

  /** Was this folder made by us, with nothing in it that somebody else put there? */
  async isOwn(folder: string): Promise<boolean> {
    if (!this.#record.notes.folders.includes(folder)) return false;
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const entry = this.#record.notes.files.find((one) => one.path === path || temporaryOf(one.path) === path);
      if (entry === undefined) return false;
      if (entry.path === path && !isWritten(entry, (await findFile(path)).state)) return false;
    }
    return true;
  }

  /**
   * Has all of `wanted` written, and what an earlier call wrote besides put back. One outcome for each.
   * @param installId whose all of it is from now on, what stays as it is too; as before where there is none.
   */
  async apply(wanted: readonly WantedFile[], installId = this.installId): Promise<Outcome[]> {
    await this.#forgetReplaced(wanted);
    const outcomes: Outcome[] = [];
    const writes: Write[] = [];
    const kept = new Set(wanted.map(({ path }) => path));
    for (const file of wanted) {
      const plan = await this.#plan(file, kept);
      if ('kind' in plan) outcomes.push(plan);
      else writes.push(plan);
    }
    const foregone = outcomes.filter(({ kind, why }) => kind === 'fine' || (kind === 'left' && why !== CHANGED));
    for (const { path } of foregone) kept.delete(path);
    const unwanted = this.#record.notes.files.filter(({ path }) => !kept.has(path));
    if (writes.length === 0 && unwanted.length === 0) {
      const hasNotes = this.#record.notes.files.length > 0;
      if (hasNotes && installId !== this.installId) await this.#record.save({ installId });
      return outcomes;
    }
    await this.#begin(writes, installId);
    for (const write of writes) outcomes.push(await this.#write(write));
    await this.#giveUp(writes.filter(({ path }) => outcomes.some((one) => one.path === path && one.kind === 'left')));
    return [...outcomes, ...(await this.#putBack(unwanted, false))];
  }

  /**
   * Puts everything back and forgets it. What somebody else changed is left, and noted for the next time.
   * @param forget what is left is forgotten too.
   */
  async undo({ forget = false } = {}): Promise<Outcome[]> {
    const outcomes = await this.#putBack(this.#record.notes.files, forget);
    if (this.#record.notes.files.length > 0) return outcomes;
    const around = this.#record.notes.folders.filter((folder) => isIn(folder, this.#root));
    if (around[0] !== undefined && (await exists(this.#root))) await this.#record.moveOut(around[0]);
    for (const folder of around.toReversed()) await this.#removeFolder(folder);
    await this.#record.remove();
    return outcomes;
  }

  /** Of what others put in the place of ours nothing is noted: the next write begins with that. */
  async #forgetReplaced(wanted: readonly WantedFile[]): Promise<void> {
    const replaced: RecordEntry[] = [];
    for (const { path, holdsOurs } of wanted) {
      const entry = this.#record.entryOf(path);
      const { state, bytes } = await findFile(path);
      if (entry === undefined || state.kind === 'other') continue;
      if (isSame(state, entry.prior) || isWritten(entry, state) || (bytes !== undefined && holdsOurs(bytes))) continue;
      replaced.push(entry);
    }
    if (replaced.length > 0) await this.#putBack(replaced, true);
  }

  async #plan({ path, content }: WantedFile, wantedPaths: ReadonlySet<string>): Promise<Write | Outcome> {
    const entry = this.#record.entryOf(path);
    const found = await findFile(path);
    if (entry !== undefined && !isSame(found.state, entry.prior) && !isWritten(entry, found.state)) {
      return left(path, CHANGED);
    }
    if (found.state.kind === 'other') return left(path, 'it is no file that could be put back; mend that by hand');
    const isOurs = entry !== undefined && !isSame(found.state, entry.prior);
    const link = isOurs ? entry.prior : found.state;
    // What it leads to is looked after itself.
    if (link.kind === 'link' && (await leadsThrough(path, link.target, wantedPaths))) return { path, kind: 'fine' };
    const prior = isOurs ? await this.#priorOf(entry) : found;
    const wanted = content(prior.bytes);
    if (wanted.kind === 'fine') return { path, kind: 'fine' };
    if (wanted.kind === 'refused') return left(path, wanted.why);
    const state = fileState(wanted.bytes, prior.mode ?? { mode: 0o644, ...ownIds() });
    if (isOurs && isSame(state, found.state)) return { path, kind: 'unchanged' };
    return { path, bytes: wanted.bytes, state, found, prior: entry?.prior ?? found.state };
  }

  /** What was there; of a link, what is now at its end. */
  async #priorOf({ path, prior }: RecordEntry): Promise<Found> {
    if (prior.kind !== 'link') return findFile(this.#record.backupOf(path));
    const end = await endOfLink(path, prior.target);
    return end === undefined ? NOTHING : findFile(end);
  }

  /** All that must be on the disk before the first file is touched. */
  async #begin(writes: readonly Write[], installId: string | undefined): Promise<void> {
    const missing = await missingFolders(writes.map(({ path }) => dirname(path)));
    const { notes } = this.#record;
    await this.#record.prepare(missing.filter((folder) => isIn(folder, this.#root)));
    for (const write of writes) await this.#keep(write);
    const files = new Map(notes.files.map((entry) => [entry.path, entry]));
    for (const { path, prior, state, found } of writes) {
      files.set(path, { path, prior, written: isSame(found.state, prior) ? [state] : [found.state, state] });
    }
    const folders = [...notes.folders, ...missing.filter((folder) => !notes.folders.includes(folder))];
    await this.#record.save({ installId, folders: folders.sort(byDepth), files: [...files.values()] });
    for (const folder of missing) await this.#disk.makeFolder(folder, 0o755);
    if (await exists(this.#root)) await this.#record.moveIn();
  }

  /** A second name for what is there, so that it comes back as the very file that it was. */
  async #keep({ path, found, prior }: Write): Promise<void> {
    if (prior.kind === 'absent' || !isSame(found.state, prior)) return;
    const backup = this.#record.backupOf(path);
    if (isSame((await findFile(backup)).state, prior)) return;
    await unless(this.#disk.remove(backup), 'ENOENT');
    try {
      await this.#disk.link(path, backup);
    } catch (error) {
      // No hard links on this file system, or not for us (fs.protected_hardlinks), or another one is mounted there.
      if (systemCode(error) === undefined) throw error;
      if (prior.kind === 'link') await this.#disk.makeLink(prior.target, backup);
      else if (found.bytes !== undefined && found.mode !== undefined) {
        await this.#disk.write(backup, found.bytes, found.mode);
      }
    }
  }

  async #write({ path, bytes, state, found }: Write): Promise<Outcome> {
    const temporary = temporaryOf(path);
    try {
      await unless(this.#disk.remove(temporary), 'ENOENT');
      await this.#disk.write(temporary, bytes, state);
      if (!isSame((await findFile(path)).state, found.state)) {
        await this.#disk.remove(temporary);
        return left(path, CHANGED);
      }
      await this.#disk.rename(temporary, path);
      return { path, kind: 'written' };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      return left(path, `it cannot be written (${code})`);
    }
  }

  /** Of what was never ours nothing is noted: it is still as it was, or as somebody else has it now. */
  async #giveUp(failed: readonly Write[]): Promise<void> {
    const untouched = failed.filter(({ found, prior }) => isSame(found.state, prior));
    await this.#putBack(
      untouched.flatMap(({ path }) => this.#record.entryOf(path) ?? []),
      true,
    );
  }

  async #putBack(entries: readonly RecordEntry[], forget: boolean): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const entry of entries) {
      outcomes.push(...(await putBack(entry, this.#record.backupOf(entry.path), this.#disk)));
    }
    const isLeft = (path: string) => !forget && outcomes.some((one) => one.path === path && one.kind === 'left');
    const done = entries.filter(({ path }) => !isLeft(path));
    const files = this.#record.notes.files.filter((entry) => !done.includes(entry));
    const folders: string[] = [];
    for (const folder of this.#record.notes.folders.toReversed()) {
      // The root itself, and what it is in, go when nothing is left to note.
      const isNeeded = isIn(folder, this.#root) || files.some(({ path }) => isIn(folder, path));
      if (isNeeded) folders.unshift(folder);
      else await this.#removeFolder(folder);
    }
    if (entries.length === 0) return outcomes;
    await this.#record.save({ files, folders });
    for (const { path } of done) await unless(this.#disk.remove(this.#record.backupOf(path)), 'ENOENT');
    return outcomes;
  }

  /** Whatever somebody else put into it stays, and it with that. */
  async #removeFolder(folder: string): Promise<void> {
    await unless(this.#disk.removeFolder(folder), 'ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY', 'ENOTDIR');
  }
}

function isWritten({ written }: RecordEntry, state: FileState): boolean {
  return written.some((one) => isSame(one, state));
}
