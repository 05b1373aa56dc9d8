import { expect, test } from 'vitest';
import { seedAddress } from '../../../../src/routing/control/seed-address.ts';

test.each([
  ['10.0.0.3:5052', '/ip4/10.0.0.3/tcp/5052'],
  ['[fd00::1]:5052', '/ip6/fd00::1/tcp/5052'],
  ['node-1.windlass.svc:5052', '/dns/node-1.windlass.svc/tcp/5052'],
  ['/ip4/10.0.0.3/tcp/5052', '/ip4/10.0.0.3/tcp/5052'],
])('%s is dialled as %s', (text, address) => {
  expect(seedAddress(text)).toBe(address);
});

test.each(['', '10.0.0.3', '10.0.0.3:0', '10.0.0.3:70000', 'fd00::1:5052', '/nonsense/1', ':5052'])(
  '%j is no address',
  (text) => {
    expect(seedAddress(text)).toBeUndefined();
  },
);
