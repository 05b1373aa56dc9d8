import { chmod, link, mkdir, open, rename, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Whose a file is, and who may read it. */
export interface FileMode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Of this process. */
export function ownIds(): Omit<FileMode, 'mode'> {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/**
 * Every call that changes something, so that a test can let the power fail at each. What a call did is on the disk when
 * it resolves; it is done whole or not at all, `write` excepted, which may leave a part of a file.
 */
export interface Disk {
  makeFolder(path: string, mode: number): Promise<void>;
  removeFolder(path: string): Promise<void>;
  /** A new file. Rejects with EEXIST where there is anything. */
  write(path: string, bytes: Uint8Array, mode: FileMode): Promise<void>;
  /** A new symbolic link. */
  makeLink(target: string, path: string): Promise<void>;
  /** One more name for what is at `from`, a symbolic link itself included. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

export const realDisk: Disk = {
  async makeFolder(path, mode) {
    await mkdir(path);
    // Whatever the umask: podman's users read what is in it.
    await chmod(path, mode);
    await syncFolder(dirname(path));
  },
  async removeFolder(path) {
    await rmdir(path);
    await syncFolder(dirname(path));
  },
  async write(path, bytes, { mode, uid, gid }) {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.chown(uid, gid);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  async makeLink(target, path) {
    await symlink(target, path);
    await syncFolder(dirname(path));
  },
  async link(from, to) {
    await link(from, to);
    await syncFolder(dirname(to));
  },
  async rename(from, to) {
    await rename(from, to);
    await syncFolder(dirname(to));
    if (dirname(from) !== dirname(to)) await syncFolder(dirname(from));
  },
  async remove(path) {
    await unlink(path);
    await syncFolder(dirname(path));
  },
};

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
