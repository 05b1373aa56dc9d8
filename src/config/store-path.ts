import { access, constants, mkdir } from 'node:fs/promises';
import { systemCode } from '../errors.ts';

export interface StorePath {
  readonly path: string;
  readonly warning?: string;
}

/**
 * Where the store goes: `path`, or `fallback` where `path` cannot be made or written. Without a fallback (somebody
 * chose the path) it is taken as it is, for the store to complain.
 */
export async function chooseStorePath(path: string, fallback: string | undefined): Promise<StorePath> {
  if (fallback === undefined) return { path };
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return { path };
  } catch (error) {
    const reason = systemCode(error);
    if (reason === undefined) throw error;
    return { path: fallback, warning: `${path} cannot be written (${reason}): the store is in ${fallback}` };
  }
}
