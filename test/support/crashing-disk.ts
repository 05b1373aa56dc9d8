import type { Disk, FileMode } from '../../src/containerd/disk.ts';

/** The power is gone. No error of the system, so nobody may take it for one. */
export class PowerCut extends Error {}

export interface CrashingDiskOptions {
  /** So many calls are done; the next one is not, or by half, and none after it. Undefined: all are. */
  readonly calls?: number | undefined;
  /** As on a file system that has none, or where fs.protected_hardlinks forbids it. */
  readonly hardLinks?: boolean;
}

/** A real disk until the power fails. */
export class CrashingDisk implements Disk {
  readonly #disk: Disk;
  readonly #hardLinks: boolean;
  #left: number;

  constructor(disk: Disk, { calls = Number.POSITIVE_INFINITY, hardLinks = true }: CrashingDiskOptions) {
    this.#disk = disk;
    this.#left = calls;
    this.#hardLinks = hardLinks;
  }

  async makeFolder(path: string, mode: number): Promise<void> {
    this.#spend();
    await this.#disk.makeFolder(path, mode);
  }

  async removeFolder(path: string): Promise<void> {
    this.#spend();
    await this.#disk.removeFolder(path);
  }

  async write(path: string, bytes: Uint8Array, mode: FileMode): Promise<void> {
    if (this.#left === 0) await this.#disk.write(path, bytes.subarray(0, bytes.length / 2), { ...mode, mode: 0o600 });
    this.#spend();
    await this.#disk.write(path, bytes, mode);
  }

  async makeLink(target: string, path: string): Promise<void> {
    this.#spend();
    await this.#disk.makeLink(target, path);
  }

  async link(from: string, to: string): Promise<void> {
    this.#spend();
    if (!this.#hardLinks) throw Object.assign(new Error('no hard links'), { code: 'EPERM' });
    await this.#disk.link(from, to);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#spend();
    await this.#disk.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.#spend();
    await this.#disk.remove(path);
  }

  #spend(): void {
    if (this.#left <= 0) {
      this.#left = -1;
      throw new PowerCut();
    }
    this.#left -= 1;
  }
}
