import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

/** What a store's folder holds, as the file system says. */
export interface StoreFiles {
  readonly blobs: number;
  readonly blobBytes: number;
  readonly ingests: number;
  readonly ingestBytes: number;
  /** Names in `blobs/` that are not `<algorithm>/<first two>/<digest of the bytes>`. */
  readonly wrong: readonly string[];
}

export async function filesOf(folder: string): Promise<StoreFiles> {
  const wrong: string[] = [];
  let blobs = 0;
  let blobBytes = 0;
  const root = join(folder, 'blobs');
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    const [algorithm = '', prefix] = relative(root, path).split(sep);
    blobs += 1;
    blobBytes += bytes.length;
    const hex = /^sha(256|512)$/.test(algorithm) ? createHash(algorithm).update(bytes).digest('hex') : '';
    if (entry.name !== hex || prefix !== hex.slice(0, 2)) wrong.push(path);
  }
  let ingests = 0;
  let ingestBytes = 0;
  for (const name of await readdir(join(folder, 'ingests'))) {
    if (name === 'boot-id') continue;
    ingests += 1;
    ingestBytes += (await readFile(join(folder, 'ingests', name))).length;
  }
  return { blobs, blobBytes, ingests, ingestBytes, wrong };
}
