import { join } from 'node:path';
import { WindlassError } from '../errors.ts';

/** sockaddr_un has 108 bytes, the last of them 0. */
const MAX_PATH_BYTES = 107;

/** Where an agent listens for those who may change it: who may write into its store. */
export function adminSocketPath(storePath: string): string {
  return join(storePath, 'admin.sock');
}

/** @throws STORE_UNUSABLE: a socket of that name cannot exist */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_PATH_BYTES) return;
  throw new WindlassError(
    'STORE_UNUSABLE',
    `${path} has ${bytes} bytes, and a socket's path at most ${MAX_PATH_BYTES}: choose a shorter store.path`,
  );
}
