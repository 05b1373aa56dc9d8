import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemCode } from '../errors.ts';
import { isDigest } from '../oci/digest.ts';
import { type DiskBlob, newDiskBlob } from './disk-blob.ts';

export interface ScanResult {
  /** Least recently used first. */
  readonly blobs: DiskBlob[];
  /** What does not belong there, the first few. Left alone: we did not put it there. */
  readonly strangers: readonly string[];
  readonly strangerCount: number;
}

const MAX_NAMED = 10;

/**
 * Finds the blobs of `blobs/<algorithm>/<first two>/<hex>` by name and size alone: what has a name there had its
 * digest and was synced when it got it.
 *
 * Synchronous calls, one folder (of 512) at a time: 100,000 asynchronous ones cost ten times as much.
 */
export async function scanBlobs(folder: string): Promise<ScanResult> {
  const blobs: DiskBlob[] = [];
  const strangers: string[] = [];
  let strangerCount = 0;
  const strange = (path: string) => {
    strangerCount += 1;
    if (strangers.length < MAX_NAMED) strangers.push(path);
  };
  for (const algorithm of readdirSync(folder)) {
    for (const prefix of list(join(folder, algorithm), strange)) {
      const inner = join(folder, algorithm, prefix);
      for (const hex of list(inner, strange)) {
        const path = `${inner}/${hex}`;
        const digest = `${algorithm}:${hex}`;
        const stats = lstatSync(path, { throwIfNoEntry: false });
        if (stats === undefined) continue;
        if (!isDigest(digest) || !hex.startsWith(prefix) || prefix.length !== 2 || !stats.isFile()) strange(path);
        else blobs.push(newDiskBlob(digest, stats.size, stats.mtimeMs));
      }
      await nextTurn();
    }
  }
  blobs.sort((a, b) => a.touchedMs - b.touchedMs);
  return { blobs, strangers, strangerCount };
}

function list(folder: string, strange: (path: string) => void): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOTDIR') strange(folder);
    else if (systemCode(error) !== 'ENOENT') throw error;
    return [];
  }
}
