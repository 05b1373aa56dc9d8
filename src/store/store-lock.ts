import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { WindlassError } from '../errors.ts';

/**
 * One process at a time. Node has no flock, a pid file lies across containers (each has a pid 1 of its own) and
 * after a kill -9, and a socket's stale file cannot be taken over without a race. SQLite is part of Node and takes
 * a lock of the kernel (fcntl) on its file: held by whoever has the transaction open, gone with the process however
 * it ends. The database stays empty; the file beside it says who, for people.
 */
export class StoreLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** @throws STORE_UNUSABLE if another process, or another store of this one, holds it */
  static async take(folder: string): Promise<StoreLock> {
    const ownerPath = join(folder, 'lock.owner');
    const database = new DatabaseSync(join(folder, 'lock'), { timeout: 0 });
    try {
      // Nothing is ever written, and a journal would be: on a full disk the lock could not be had.
      database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    } catch (cause) {
      database.close();
      if (!(cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY)) throw cause;
      const owner = (await readFile(ownerPath, 'utf8').catch(() => '')).trim() || 'unknown';
      throw new WindlassError('STORE_UNUSABLE', `the store ${folder} is in use by another process (${owner})`, {
        cause,
      });
    }
    // A courtesy: a disk that is full to the last byte is no reason not to start.
    await writeFile(ownerPath, `pid ${process.pid} on ${hostname()}\n`).catch(() => undefined);
    return new StoreLock(database);
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

const SQLITE_BUSY = 5;
