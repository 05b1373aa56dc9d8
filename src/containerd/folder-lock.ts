import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode, WindlassError } from '../errors.ts';

const RETRY_MS = 100;

/**
 * Runs `work` with nobody else at work in the folder. The lock is a name in Linux's abstract sockets, which is free again
 * as soon as its process is gone, however it went, and leaves nothing in any folder. It holds within a network namespace:
 * on a node, for all that share the node's. Such a name has no permissions: anybody there can hold it, and keep us from work,
 * no more. (Node has no flock; a lock in a file would be left behind, or be removed under somebody's feet.)
 * @throws RECORD_UNUSABLE when somebody else has it for too long
 */
export async function withFolderLock<T>(folder: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  const name = `\0windlass-configure-${createHash('sha256').update(folder).digest('hex').slice(0, 16)}`;
  const deadline = performance.now() + timeoutMs;
  let server = await tryListen(name);
  while (server === undefined) {
    if (performance.now() > deadline) {
      throw new WindlassError('RECORD_UNUSABLE', `another windlass configure or cleanup is at work in ${folder}`);
    }
    await sleep(RETRY_MS);
    server = await tryListen(name);
  }
  try {
    return await work();
  } finally {
    server.close();
  }
}

function tryListen(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => (systemCode(error) === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen(name, () => resolve(server));
  });
}
