import { multiaddr } from '@multiformats/multiaddr';
import { expect, test } from 'vitest';
import { parseMultiaddr, suggestMultiaddr } from '../../../src/config/multiaddr.ts';

test.each([
  ['/ip4/0.0.0.0/tcp/5052', '0.0.0.0', 5052],
  ['/ip4/127.0.0.1/tcp/0', '127.0.0.1', 0],
  ['/ip6/0:0::1/tcp/1', '::1', 1],
  ['/dns/Node-1.Example/tcp/65535', 'node-1.example', 65535],
  ['/dns4/a_b/tcp/1', 'a_b', 1],
  ['/dns6/example.com./tcp/1', 'example.com.', 1],
])('%s is host %s and port %d, and libp2p knows it', (text, host, port) => {
  expect(parseMultiaddr(text)).toMatchObject({ host, port });
  expect(() => multiaddr(text)).not.toThrow();
});

test.each([
  '',
  '5052',
  '0.0.0.0:5052',
  '/ip4/0.0.0.0',
  '/ip4/0.0.0.0/tcp',
  '/ip4/0.0.0.0/tcp/65536',
  '/ip4/0.0.0/tcp/1',
  '/ip4/::1/tcp/1',
  '/ip6/127.0.0.1/tcp/1',
  '/ip6/fe80::1%eth0/tcp/1',
  '/dns/10.0.0.3/tcp/1',
  '/dns/a..b/tcp/1',
  '/dns/-a/tcp/1',
  '/ip4/0.0.0.0/udp/1',
  '/ip4/0.0.0.0/tcp/1/',
  '/ip4/0.0.0.0/tcp/1/ws',
  '/unix/tmp/socket',
  ' /ip4/0.0.0.0/tcp/1',
])('%j is no multiaddr that an agent could use', (text) => expect(parseMultiaddr(text)).toBeUndefined());

test.each([
  ['5052', '/ip4/0.0.0.0/tcp/5052'],
  ['10.0.0.3:5052', '/ip4/10.0.0.3/tcp/5052'],
  ['[::1]:5052', '/ip6/::1/tcp/5052'],
  ['node-1.example:5052', '/dns/node-1.example/tcp/5052'],
  ['nonsense', undefined],
])('who writes %s is offered %s', (text, guess) => expect(suggestMultiaddr(text)).toBe(guess));
