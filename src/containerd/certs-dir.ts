import { lstat, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { systemCode } from '../errors.ts';
import { certFileLines } from './cert-files.ts';
import { type CertsEntry, type HostFolder, hostFolders, type MirroredRegistry } from './host-folders.ts';
import { holdsMirror, mergeHostsToml } from './hosts-toml.ts';
import { namesIn } from './if-there.ts';
import type { Installation, WantedContent, WantedFile } from './installation.ts';
import { left, type Outcome } from './outcome.ts';

export interface WantedHosts {
  readonly files: readonly WantedFile[];
  /** What is not to be written, and why. */
  readonly foregone: readonly Outcome[];
}

/** A folder's path without symbolic links in it, whether it exists or not. */
export async function realFolder(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || path === dirname(path)) throw error;
    return join(await realFolder(dirname(path)), basename(path));
  }
}

/** The hosts.toml files that make containerd ask the mirror first. @param root certs.d, by `realFolder` */
export async function wantedHosts(
  root: string,
  mirrorUrl: string,
  registries: readonly MirroredRegistry[],
  installation: Installation,
): Promise<WantedHosts> {
  const plan = hostFolders(registries, await certsEntries(root, installation));
  return {
    files: await Promise.all(plan.folders.map((folder) => hostsFile(root, mirrorUrl, folder))),
    foregone: plan.left.map(({ path, why }) => left(join(root, path), why)),
  };
}

async function hostsFile(root: string, url: string, { folder, server }: HostFolder): Promise<WantedFile> {
  const serverLines = certFileLines((await namesIn(join(root, folder))) ?? []);
  return {
    path: join(root, folder, 'hosts.toml'),
    content: (prior) => {
      const text = decode(prior);
      if (text === undefined) return { kind: 'refused', why: 'it is not UTF-8, and containerd passes it over' };
      return encode(mergeHostsToml(prior === undefined ? undefined : text, { url, server, serverLines }));
    },
    // latin1: whatever else is in it, what is looked for is ASCII.
    holdsOurs: (bytes) => holdsMirror(Buffer.from(bytes).toString('latin1'), url),
  };
}

function encode(merged: ReturnType<typeof mergeHostsToml>): WantedContent {
  return merged.kind === 'text' ? { kind: 'bytes', bytes: Buffer.from(merged.text) } : merged;
}

/** Undefined unless all of its bytes come back from the text as they were. */
function decode(bytes: Uint8Array | undefined): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes ?? new Uint8Array());
  } catch {
    return undefined;
  }
}

/** What is there without us. */
async function certsEntries(root: string, installation: Installation): Promise<Map<string, CertsEntry>> {
  const entries = new Map<string, CertsEntry>();
  for (const name of (await namesIn(root)) ?? []) {
    const path = join(root, name);
    if (name.startsWith('.windlass')) continue;
    const entry = await entryAt(root, path);
    if (entry.kind === 'folder' && (await installation.isOwn(path))) continue;
    // A link that leads to a folder of ours led nowhere before.
    const isOwn = entry.kind === 'alias' && (await installation.isOwn(join(root, entry.folder ?? '')));
    entries.set(name, isOwn ? { ...entry, kind: 'dangling' } : entry);
  }
  return entries;
}

async function entryAt(root: string, path: string): Promise<CertsEntry> {
  const stats = await lstat(path);
  if (stats.isDirectory()) return { kind: 'folder' };
  if (!stats.isSymbolicLink()) return { kind: 'other' };
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    // Of a link that leads in a circle containerd does not say that there is nothing: it fails.
    if (systemCode(error) === 'ELOOP') return { kind: 'other' };
    if (systemCode(error) !== 'ENOENT') throw error;
    return { kind: 'dangling', folder: relative(root, resolve(root, await readlink(path))) };
  }
  if (!(await lstat(real)).isDirectory()) return { kind: 'other' };
  const folder = relative(root, real);
  return folder === '' || folder.startsWith('..') ? { kind: 'foreign' } : { kind: 'alias', folder };
}
