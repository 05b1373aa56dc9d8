import { createHash } from 'node:crypto';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { WindlassError } from '../errors.ts';
import { type Disk, ownIds } from './disk.ts';
import { fileStateSchema } from './file-state.ts';
import { namesIn, textOf, unless } from './if-there.ts';

const NAME = '.windlass';
const FILE = 'record.json';
const TEMPORARY = `${FILE}.new`;

const entrySchema = z.strictObject({
  /** Absolute; in the record, from the root. */
  path: z.string(),
  /** What was there before us. */
  prior: fileStateSchema,
  /** What we wrote or were about to write; anything else is somebody else's. */
  written: z.array(fileStateSchema),
});

const recordSchema = z.strictObject({
  /** 1 had absolute paths. */
  format: z.literal(2),
  /** The installation that wrote last, where it has a name. */
  installId: z.string().optional(),
  /** Folders that we made or were about to make, the outer ones first. */
  folders: z.array(z.string()),
  files: z.array(entrySchema),
});

type RecordContent = z.output<typeof recordSchema>;
export type RecordEntry = z.output<typeof entrySchema>;
export type Notes = Omit<z.output<typeof recordSchema>, 'format'>;

/**
 * What there was before us, and what we did: written before anything is done, so that whoever comes after a crash knows
 * what is ours. It lies in the folder that it tells of, with the files that were there; but while that folder is not
 * yet made, or is about to be removed again, beside it:
 *
 * ```
 *  /etc/containerd/.windlass-1a2b…  ──(the folder is made)──▶  /etc/containerd/certs.d/.windlass
 *                                   ◀──(all is put back)─────
 * ```
 *
 * Nothing in it, nor any name of it, says where the folder is: a Pod has it at another path than the node, and whoever
 * finds the record at one of them must find what it tells of there too.
 */
export class InstallRecord {
  readonly root: string;
  readonly #disk: Disk;
  #home: string;
  #notes: Notes;

  private constructor(root: string, disk: Disk, home: string, notes: Notes) {
    this.root = root;
    this.#disk = disk;
    this.#home = home;
    this.#notes = notes;
  }

  /** @throws RECORD_UNUSABLE */
  static async open(root: string, disk: Disk): Promise<InstallRecord> {
    for (const home of homes(root)) {
      const notes = await readNotes(join(home, FILE), root);
      if (notes !== undefined) return new InstallRecord(root, disk, home, notes);
    }
    return new InstallRecord(root, disk, join(root, NAME), { folders: [], files: [] });
  }

  get notes(): Notes {
    return this.#notes;
  }

  /** Where what was at a path is kept. */
  backupOf(path: string): string {
    return join(this.#home, shortHash(relative(this.root, path)));
  }

  entryOf(path: string): RecordEntry | undefined {
    return this.#notes.files.find((entry) => entry.path === path);
  }

  /** Makes the folder of the record: in the root, or, where there is none, beside the first folder that is missing. */
  async prepare(missing: readonly string[]): Promise<void> {
    const isNew = this.#notes.folders.length === 0 && this.#notes.files.length === 0;
    if (isNew && missing[0] !== undefined) this.#home = beside(missing[0], this.root);
    // What is kept in it may have been out of others' reach by the mode of its folder alone.
    await unless(this.#disk.makeFolder(this.#home, 0o700), 'EEXIST');
  }

  async save(changes: Partial<Notes>): Promise<void> {
    const notes = { ...this.#notes, ...changes };
    const content = { format: 2, ...movePaths(notes, (path) => relative(this.root, path)) } satisfies RecordContent;
    const bytes = Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`);
    const temporary = join(this.#home, TEMPORARY);
    await unless(this.#disk.remove(temporary), 'ENOENT');
    await this.#disk.write(temporary, bytes, { mode: 0o600, ...ownIds() });
    await this.#disk.rename(temporary, join(this.#home, FILE));
    this.#notes = notes;
  }

  /** Into the root, which exists. */
  async moveIn(): Promise<void> {
    await this.#moveTo(join(this.root, NAME));
  }

  /**
   * Out of the root, beside `first`, the outermost of the folders that go with it. Stays where that cannot be: then the
   * root cannot go either, for something is mounted there.
   */
  async moveOut(first: string): Promise<void> {
    await unless(this.#moveTo(beside(first, this.root)), 'EXDEV', 'EBUSY', 'EACCES', 'EROFS');
  }

  /** Nothing is left of it, nor of one that was begun and never written. */
  async remove(): Promise<void> {
    for (const home of new Set([...homes(this.root), this.#home])) {
      const names = await namesIn(home);
      // The record itself last: as long as it is there, whoever comes after a crash goes on here.
      const ordered =
        names === undefined ? [] : [...names.filter((name) => name !== FILE), ...names.filter((name) => name === FILE)];
      for (const name of ordered) await this.#disk.remove(join(home, name));
      if (names !== undefined) await this.#disk.removeFolder(home);
    }
    this.#notes = { folders: [], files: [] };
  }

  async #moveTo(home: string): Promise<void> {
    if (home === this.#home) return;
    await this.#disk.rename(this.#home, home);
    this.#home = home;
  }
}

function homes(root: string): string[] {
  const outside: string[] = [];
  for (let folder = root; folder !== dirname(folder); folder = dirname(folder)) outside.push(beside(folder, root));
  return [join(root, NAME), ...outside];
}

function beside(folder: string, root: string): string {
  const parent = dirname(folder);
  return join(parent, `${NAME}-${shortHash(relative(parent, root))}`);
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function movePaths(notes: Notes, move: (path: string) => string): Notes {
  const files = notes.files.map((entry) => ({ ...entry, path: move(entry.path) }));
  return { ...notes, folders: notes.folders.map(move), files };
}

/** @throws RECORD_UNUSABLE */
async function readNotes(path: string, root: string): Promise<Notes | undefined> {
  const text = await textOf(path);
  if (text === undefined) return undefined;
  try {
    const { format: _, ...notes } = recordSchema.parse(JSON.parse(text));
    return movePaths(notes, (path) => join(root, path));
  } catch (error) {
    throw new WindlassError(
      'RECORD_UNUSABLE',
      `${path} tells what was in ${root} before windlass configure, and cannot be read; restore it, or put back the files beside it by hand and remove its folder`,
      { cause: error },
    );
  }
}
