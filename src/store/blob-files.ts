import { mkdir, rename, unlink, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { KeyedTurns } from '../time/keyed-turns.ts';
import { blobPath, type StoreLayout, syncFolder } from './store-format.ts';

/**
 * The files of committed blobs. What is done to the name of one digest is done in turn: a deletion that is late
 * must not hit the file that was committed after it.
 */
export class BlobFiles {
  readonly #layout: StoreLayout;
  readonly #turns = new KeyedTurns<Digest>();
  /** Folders that are known to be there, durably. */
  readonly #folders = new Set<string>();

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  pathOf(digest: Digest): string {
    return blobPath(this.#layout, digest).path;
  }

  /** Gives a synced file its name, durably, and then calls `placed`, before anything else is done to that name. */
  place(digest: Digest, from: string, placed: () => void): Promise<void> {
    return this.#turns.run(digest, async () => {
      const { folder, path } = blobPath(this.#layout, digest);
      await this.#ensureFolder(folder);
      try {
        await rename(from, path);
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
        // Somebody tidied up the folder.
        this.#folders.delete(folder);
        await this.#ensureFolder(folder);
        await rename(from, path);
      }
      try {
        await syncFolder(folder);
      } catch (error) {
        await unlinkIfThere(path);
        throw error;
      }
      placed();
    });
  }

  /** Deletes the file, unless by the time of its turn `held` again. */
  delete(digest: Digest, held: () => boolean): Promise<void> {
    return this.#turns.run(digest, async () => {
      if (!held()) await unlinkIfThere(this.pathOf(digest));
    });
  }

  /** Notes the time of last use in the file, for the next start. */
  async touch(digest: Digest, timeMs: number): Promise<void> {
    await utimes(this.pathOf(digest), timeMs / 1000, timeMs / 1000);
  }

  async #ensureFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder)) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await syncFolder(dirname(folder));
    this.#folders.add(folder);
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
