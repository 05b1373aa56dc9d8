import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readFile, readlink, stat } from 'node:fs/promises';
import { z } from 'zod';
import type { FileMode } from './disk.ts';
import { unless } from './if-there.ts';

/** No hosts.toml is as large as that. */
const MAX_BYTES = 1024 * 1024;

const fileSchema = z.strictObject({
  kind: z.literal('file'),
  sha256: z.string(),
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
});

export const fileStateSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('absent') }),
  fileSchema,
  z.strictObject({ kind: z.literal('link'), target: z.string() }),
  /** A folder, a pipe, a file that is too large: nothing that could be put back. */
  z.strictObject({ kind: z.literal('other') }),
]);

/** What is at a path: enough to tell whether it is still the same. */
export type FileState = z.output<typeof fileStateSchema>;
export type PlainFile = z.output<typeof fileSchema>;

export interface Found {
  readonly state: FileState;
  /** Of a file, or of the file that a link leads to; undefined where there is none. */
  readonly bytes: Uint8Array | undefined;
  /** Of the same file. */
  readonly mode: FileMode | undefined;
}

export const NOTHING: Found = { state: { kind: 'absent' }, bytes: undefined, mode: undefined };
const OTHER: Found = { state: { kind: 'other' }, bytes: undefined, mode: undefined };

export async function findFile(path: string): Promise<Found> {
  const stats = await unless(lstat(path), 'ENOENT', 'ENOTDIR');
  if (stats === undefined) return NOTHING;
  if (stats.isSymbolicLink()) return followLink(path);
  if (!stats.isFile()) return OTHER;
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { mode, uid, gid, size } = await file.stat();
    if (size > MAX_BYTES) return OTHER;
    const bytes = await file.readFile();
    const access = { mode: mode & 0o7777, uid, gid };
    return { state: fileState(bytes, access), bytes, mode: access };
  } finally {
    await file.close();
  }
}

export function fileState(bytes: Uint8Array, { mode, uid, gid }: FileMode): PlainFile {
  return { kind: 'file', sha256: createHash('sha256').update(bytes).digest('hex'), mode, uid, gid };
}

export function isSame(a: FileState, b: FileState): boolean {
  if (a.kind === 'link' && b.kind === 'link') return a.target === b.target;
  if (a.kind !== 'file' || b.kind !== 'file') return a.kind === b.kind && a.kind !== 'other';
  return a.sha256 === b.sha256 && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;
}

/** A link that leads nowhere is as good as no file, to containerd too; what is at its end is never written to. */
async function followLink(path: string): Promise<Found> {
  const state: FileState = { kind: 'link', target: await readlink(path) };
  const stats = await unless(stat(path), 'ENOENT', 'ENOTDIR', 'ELOOP');
  if (stats === undefined) return { state, bytes: undefined, mode: undefined };
  if (!stats.isFile() || stats.size > MAX_BYTES) return OTHER;
  const { mode, uid, gid } = stats;
  return { state, bytes: await readFile(path), mode: { mode: mode & 0o7777, uid, gid } };
}
