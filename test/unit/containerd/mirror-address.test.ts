import { expect, test } from 'vitest';
import { parseListenAddress } from '../../../src/config/listen-address.ts';
import { mirrorAddress } from '../../../src/containerd/mirror-address.ts';

const address = (...listen: string[]) => mirrorAddress(listen.flatMap((text) => parseListenAddress(text) ?? []));

test('a runtime asks at the address of this machine alone, where there is one', () => {
  expect(address('127.0.0.1:5050', '[::1]:5050')).toBe('127.0.0.1:5050');
  expect(address('10.0.0.1:5050', '[::1]:5051')).toBe('[::1]:5051');
  expect(address('10.0.0.1:5050')).toBe('10.0.0.1:5050');
  expect(address('0.0.0.0:5050')).toBe('127.0.0.1:5050');
  expect(address('[::]:5050')).toBe('[::1]:5050');
});

test('a port that nobody knows beforehand is refused', () => {
  expect(() => address('127.0.0.1:0')).toThrow(expect.objectContaining({ code: 'INVALID_SETTINGS' }));
});
