import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Disk, ownIds } from './disk.ts';
import { textOf, unless } from './if-there.ts';

/**
 * While an installation is taken away, its Pods may still start: Helm waits for no DaemonSet. A tombstone says which
 * installation is gone, so that a `configure` of that one writes nothing. It lies in the store's folder, for certs.d is
 * to be as it was. The next installation has another name, and takes the tombstone away.
 */
export class Tombstone {
  readonly path: string;
  readonly #folder: string;
  readonly #disk: Disk;

  constructor(storePath: string, disk: Disk) {
    this.#folder = storePath;
    this.path = join(storePath, 'uninstalled');
    this.#disk = disk;
  }

  /** The installation that is gone; undefined: none is. */
  async read(): Promise<string | undefined> {
    return (await textOf(this.path))?.trim();
  }

  async set(installation: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const temporary = `${this.path}.new`;
    await unless(this.#disk.remove(temporary), 'ENOENT');
    await this.#disk.write(temporary, Buffer.from(`${installation}\n`), { mode: 0o644, ...ownIds() });
    await this.#disk.rename(temporary, this.path);
  }

  async remove(): Promise<void> {
    await unless(this.#disk.remove(this.path), 'ENOENT');
  }
}
