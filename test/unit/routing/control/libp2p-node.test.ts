import { multiaddr } from '@multiformats/multiaddr';
import { expect, test } from 'vitest';
import { withoutLoopback } from '../../../../src/routing/control/libp2p-node.ts';

const kept = (...addresses: string[]) => withoutLoopback(addresses.map((text) => multiaddr(text))).map(String);

test('loopback is not told to others where there is anything else', () => {
  const outside = ['/ip4/10.0.0.3/tcp/5052', '/ip6/fd00::1/tcp/5052'];
  expect(kept('/ip4/127.0.0.1/tcp/5052', ...outside, '/ip6/::1/tcp/5052')).toEqual(outside);
});

test('an agent that listens at loopback alone tells that', () => {
  expect(kept('/ip4/127.0.0.1/tcp/5052')).toEqual(['/ip4/127.0.0.1/tcp/5052']);
});
