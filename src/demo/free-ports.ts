import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Below those that the system gives to outgoing connections: nobody takes them by chance while agents start. */
const [LOWEST, HIGHEST] = [20_000, 31_999];
const MOST_TRIES = 1000;
/** Whoever was given one may bind it later, or come back to it. */
const given = new Set<number>();

/** TCP ports on 127.0.0.1 that were free a moment ago; this process is given none of them twice. */
export async function freePorts(wanted: number): Promise<number[]> {
  const servers = new Map<number, Server>();
  try {
    for (let tries = 0; servers.size < wanted; tries++) {
      if (tries === MOST_TRIES) throw new Error('no free ports on 127.0.0.1');
      const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
      if (given.has(port)) continue;
      const server = createServer();
      try {
        server.listen(port, '127.0.0.1');
        await once(server, 'listening');
        servers.set(port, server);
        given.add(port);
      } catch {
        // Somebody has it.
      }
    }
    return [...servers.keys()];
  } finally {
    await Promise.all([...servers.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  }
}
