import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { unless } from './if-there.ts';

/** Is the path the folder, or below it? */
export function isIn(folder: string, path: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

export async function exists(path: string): Promise<boolean> {
  return (await unless(lstat(path), 'ENOENT')) !== undefined;
}

/** The folders that must be made for these to exist, the outer ones first. */
export async function missingFolders(wanted: readonly string[]): Promise<string[]> {
  const missing = new Set<string>();
  for (const folder of wanted) {
    for (let at = folder; !missing.has(at) && !(await exists(at)); at = dirname(at)) missing.add(at);
  }
  return [...missing].sort(byDepth);
}

/** The outer ones first. */
export function byDepth(a: string, b: string): number {
  return a.split('/').length - b.split('/').length || (a < b ? -1 : 1);
}
