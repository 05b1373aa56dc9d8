import { readdir, readFile } from 'node:fs/promises';
import { systemCode } from '../errors.ts';

/** What is in a folder; undefined where there is none. */
export function namesIn(folder: string): Promise<string[] | undefined> {
  return unless(readdir(folder), 'ENOENT', 'ENOTDIR');
}

/** Undefined where there is no such file. */
export function textOf(path: string): Promise<string | undefined> {
  return unless(readFile(path, 'utf8'), 'ENOENT', 'ENOTDIR');
}

/** Undefined if it fails with one of these codes of the system. */
export async function unless<T>(result: Promise<T>, ...codes: readonly string[]): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (codes.includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
