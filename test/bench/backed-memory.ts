import { type FileHandle, open, readFile } from 'node:fs/promises';
import type { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** So little is left free: as on a node that has been up for a day, whose page cache has grown into all of it. */
const FREE_BYTES = GIB;
const LOOK_BYTES = 128 * MIB;

/**
 * Has the page cache take what memory is free. In a virtual machine memory that is free has no memory of the host behind it: the
 * first write to each page waits until the host finds some, which took 2.3 CPU-seconds per GiB here, ten times the write
 * itself. On a node that has been up for long nothing is free, and what is written takes the place of what was read long ago.
 */
export class BackedMemory {
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  readonly #buffer = Buffer.allocUnsafeSlow(MIB);
  #position = 0;

  private constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  static async create(scratch: Scratch): Promise<BackedMemory> {
    // Sparse: reading it takes memory, and nothing of the disk.
    const file = await open(scratch.join('sparse'), 'w+');
    scratch.defer(() => file.close());
    const sizeBytes = 2 * (await memory('MemTotal'));
    await file.truncate(sizeBytes);
    return new BackedMemory(file, sizeBytes);
  }

  async fill(): Promise<void> {
    // Once around at most: where nothing is ever taken, somebody bounds this process' cache.
    for (let read = 0; read < this.#sizeBytes && (await memory('MemFree')) > FREE_BYTES; read += LOOK_BYTES) {
      for (let at = 0; at < LOOK_BYTES; at += MIB) await this.#file.read(this.#buffer, 0, MIB, this.#position + at);
      this.#position = (this.#position + LOOK_BYTES) % (this.#sizeBytes - LOOK_BYTES);
    }
  }
}

async function memory(name: string): Promise<number> {
  const line = (await readFile('/proc/meminfo', 'utf8')).match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'));
  if (line?.[1] === undefined) throw new Error(`/proc/meminfo says nothing of ${name}`);
  return Number(line[1]) * 1024;
}
