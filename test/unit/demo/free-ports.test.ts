import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePorts } from '../../../src/demo/free-ports.ts';

test('all are different, can be had, and are none that the system gives to outgoing connections', async () => {
  const ports = await freePorts(64);
  expect(new Set(ports).size).toBe(64);
  for (const port of ports) expect(port).toBeLessThan(32_768);
  const server = createServer().listen(ports[0], '127.0.0.1');
  await once(server, 'listening');
  server.close();
});
