import type { Stats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { CountedFile } from '../store/counted-file.ts';

/** An open file that others may have open too. */
export interface ContentFile {
  readonly file: CountedFile;
  /** Another one if the file was replaced or written. */
  readonly identity: string;
  readonly sizeBytes: number;
  /** For another user of it, while this one is open. */
  share(): ContentFile;
  /** It is closed when the last one has left it. Idempotent; never rejects. */
  close(): void;
}

interface Shared {
  readonly opening: Promise<Opened>;
  users: number;
}

interface Opened {
  readonly file: CountedFile;
  readonly identity: string;
  readonly sizeBytes: number;
}

/** Files that somebody else may replace or delete: one descriptor for all that read the same one. */
export class ContentFiles {
  /** By path and identity. */
  readonly #shared = new Map<string, Shared>();

  /** What lies there now. @throws the system's error. */
  async stat(path: string): Promise<{ readonly identity: string; readonly sizeBytes: number }> {
    return seen(await stat(path));
  }

  /** @throws the system's error. */
  async open(path: string): Promise<ContentFile> {
    // By name, each time: one that was deleted is not there, though others read it still.
    const key = `${path} ${(await this.stat(path)).identity}`;
    const shared = this.#shared.get(key) ?? { opening: openFile(path), users: 0 };
    this.#shared.set(key, shared);
    shared.users += 1;
    try {
      return this.#use(key, shared, await shared.opening);
    } catch (error) {
      this.#leave(key, shared);
      throw error;
    }
  }

  #use(key: string, shared: Shared, opened: Opened): ContentFile {
    let closed = false;
    return {
      ...opened,
      share: () => {
        shared.users += 1;
        return this.#use(key, shared, opened);
      },
      close: () => {
        if (!closed) this.#leave(key, shared);
        closed = true;
      },
    };
  }

  #leave(key: string, shared: Shared): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    this.#shared.delete(key);
    // Its bytes were read: a failure to close concerns nobody.
    shared.opening.then(({ file }) => file.close()).catch(() => {});
  }
}

async function openFile(path: string): Promise<Opened> {
  const handle = await open(path, 'r');
  try {
    return { file: new CountedFile(handle), ...seen(await handle.stat()) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function seen({ dev, ino, size, mtimeMs, ctimeMs }: Stats) {
  return { identity: `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`, sizeBytes: size };
}
