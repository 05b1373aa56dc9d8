import { createServer } from 'node:net';

/** TCP ports on 127.0.0.1 that were free a moment ago: for processes that must come back on the same ports. */
export async function freePorts(count: number): Promise<number[]> {
  // All are open at the same time, or the system may give one twice.
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = server.address();
    if (typeof address === 'object' && address !== null) ports.push(address.port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
