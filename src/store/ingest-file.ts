import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../errors.ts';
import { isNoRoom } from './no-room.ts';

export interface IngestFile {
  readonly path: string;
  /** Undefined where there is no room even for a name; `error` says so. */
  readonly handle: FileHandle | undefined;
  readonly error: Error | undefined;
  /** What it holds already. */
  readonly fileBytes: number;
}

/** Opens the file that an earlier writer left. @throws the system's error */
export async function openEarlier(path: string): Promise<IngestFile> {
  const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    return { path, handle, error: undefined, fileBytes: (await handle.stat()).size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Opens a new file, in its folder or in a new one where somebody tidied up. */
export async function openNew(path: string): Promise<IngestFile> {
  const openIt = () => open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    const handle = await openIt().catch(async (error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      return await openIt();
    });
    return { path, handle, error: undefined, fileBytes: 0 };
  } catch (error) {
    if (!isNoRoom(error)) throw error;
    return { path, handle: undefined, error, fileBytes: 0 };
  }
}
