import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WindlassError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import { StoreLock } from './store-lock.ts';

/** Raised when an older agent could no longer read what a newer one writes. */
const FORMAT = 1;
export const BOOT_ID_NAME = 'boot-id';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** Where a store's files are. */
export interface StoreLayout {
  readonly folder: string;
  readonly blobs: string;
  readonly ingests: string;
  /** The scrub's place. */
  readonly scrubCursor: string;
}

export interface OpenedFolder {
  readonly lock: StoreLock;
  /**
   * The machine is up since the store was last opened: what was written then is in the page cache, if not on the
   * disk. False if that is not known.
   */
  readonly sameBoot: boolean;
}

export function layoutOf(folder: string): StoreLayout {
  return {
    folder,
    blobs: join(folder, 'blobs'),
    ingests: join(folder, 'ingests'),
    scrubCursor: join(folder, 'scrub-cursor'),
  };
}

/** `blobs/<algorithm>/<first two>`, and the name in it. A digest is parsed, so it is safe in a path. */
export function blobPath(layout: StoreLayout, digest: Digest): { folder: string; path: string } {
  const hex = hexOf(digest);
  const folder = join(layout.blobs, algorithmOf(digest), hex.slice(0, 2));
  return { folder, path: join(folder, hex) };
}

/** Creates what is missing, takes the lock, and checks the format. @throws STORE_UNUSABLE */
export async function openFolder(layout: StoreLayout): Promise<OpenedFolder> {
  let lock: StoreLock | undefined;
  try {
    // The mode of a folder that exists is its owner's business; what we create in it is ours alone.
    await mkdir(layout.folder, { recursive: true, mode: 0o700 });
    lock = await StoreLock.take(layout.folder);
    await checkVersion(layout.folder);
    for (const folder of [
      layout.blobs,
      join(layout.blobs, 'sha256'),
      join(layout.blobs, 'sha512'),
      layout.ingests,
      join(layout.folder, 'tags'),
    ]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    }
    await syncFolder(layout.blobs);
    await syncFolder(layout.folder);
    return { lock, sameBoot: await isSameBoot(layout) };
  } catch (error) {
    lock?.release();
    if (error instanceof WindlassError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new WindlassError('STORE_UNUSABLE', `the store ${layout.folder} cannot be used: ${why}`, { cause: error });
  }
}

/** Makes names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function checkVersion(folder: string): Promise<void> {
  const path = join(folder, 'version');
  const text = await readText(path);
  // Nothing at all: a crash between creating and writing it, which is before anything else was.
  if (text === undefined || text === '') {
    await writeSynced(path, `${FORMAT}\n`);
    return;
  }
  const version = /^\d{1,9}\n?$/.test(text) ? Number(text) : Number.NaN;
  if (version === FORMAT) return;
  throw new WindlassError(
    'STORE_UNUSABLE',
    version > FORMAT
      ? `the store ${folder} has format ${version}, and this version of windlass knows formats up to ${FORMAT}: use the newer windlass, or another store.path`
      : `the store ${folder} has a format that is not known: ${JSON.stringify(text.slice(0, 40))} (expected ${FORMAT})`,
  );
}

/**
 * Called once what another boot left is gone: until then a crash must find the old mark. Where it cannot be written
 * (a full disk), what this boot leaves is lost to the next start, no more.
 */
export async function markBoot(layout: StoreLayout): Promise<void> {
  const path = bootIdPath(layout);
  const now = await readText(BOOT_ID);
  if (now !== (await readText(path))) await writeSynced(path, now ?? 'unknown\n');
}

async function isSameBoot(layout: StoreLayout): Promise<boolean> {
  const now = await readText(BOOT_ID);
  return now !== undefined && now === (await readText(bootIdPath(layout)));
}

function bootIdPath(layout: StoreLayout): string {
  return join(layout.ingests, BOOT_ID_NAME);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
