import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { mayKnowNames } from '../../../src/status/asker.ts';

const from = (remoteAddress: string | undefined, host: string | undefined) =>
  ({ socket: { remoteAddress }, headers: { host } }) as unknown as IncomingMessage;

test.each([
  ['127.0.0.1', 'localhost:5053', true],
  ['127.0.0.1', 'LOCALHOST', true],
  ['127.9.9.9', '127.0.0.1:5053', true],
  ['::1', '[::1]:5053', true],
  ['::ffff:127.0.0.1', '127.0.0.1:5053', true],
  ['10.0.0.3', '10.0.0.1:5053', false],
  // Whoever is elsewhere can write any Host.
  ['10.0.0.3', 'localhost:5053', false],
  ['::ffff:10.0.0.3', '127.0.0.1', false],
  // Another site's name, that was made to point to this machine.
  ['127.0.0.1', 'evil.example:5053', false],
  ['127.0.0.1', '127.0.0.1.evil.example', false],
  ['127.0.0.1', 'localhost.evil.example', false],
  ['127.0.0.1', undefined, false],
  [undefined, 'localhost', false],
])('names are local: %s asking %s: %s', (address, host, may) => {
  expect(mayKnowNames(from(address, host), 'local')).toBe(may);
  expect(mayKnowNames(from(address, host), 'all')).toBe(true);
  expect(mayKnowNames(from(address, host), 'none')).toBe(false);
});
