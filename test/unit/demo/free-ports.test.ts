import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePorts } from '../../../src/demo/free-ports.ts';

test('one that was given is not given again, though nobody has it yet', async () => {
  const ports: number[] = [];
  // A fourth of all there are: drawn anew each time, some would come twice.
  for (let i = 0; i < 30; i++) ports.push(...(await freePorts(100)));
  expect(new Set(ports).size).toBe(3_000);
});

test('all are different, can be had, and are none that the system gives to outgoing connections', async () => {
  const ports = await freePorts(64);
  expect(new Set(ports).size).toBe(64);
  for (const port of ports) expect(port).toBeLessThan(32_768);
  const server = createServer().listen(ports[0], '127.0.0.1');
  await once(server, 'listening');
  server.close();
});
