import { expect, test } from 'vitest';
import { collide, formatListenAddress, isLoopback, parseListenAddress } from '../../../src/config/listen-address.ts';

const parse = (text: string) => {
  const address = parseListenAddress(text);
  if (address === undefined) throw new Error(`no address: ${text}`);
  return address;
};

test.each([
  ['127.0.0.1:5050', '127.0.0.1', 5050],
  ['[::1]:5050', '::1', 5050],
  ['[0:0::0]:1', '::', 1],
  ['localhost:0', 'localhost', 0],
  ['Node-1.Local:65535', 'node-1.local', 65535],
])('%s is host %s and port %d', (text, host, port) => {
  expect(parse(text)).toEqual({ host, port });
  expect(parse(formatListenAddress(parse(text)))).toEqual({ host, port });
});

test.each([
  '',
  '5050',
  ':5050',
  '127.0.0.1',
  '::1:5050',
  '[::1]',
  '[::g]:1',
  '127.0.0.1:65536',
  '127.0.0.1:-1',
  '127.0.1:80',
  '256.0.0.1:80',
  'a b:1',
  'http://a:1',
  '127.0.0.1:5050 ',
])('%j is no address to listen on', (text) => expect(parseListenAddress(text)).toBeUndefined());

test.each([
  ['127.0.0.1:1', '127.0.0.1:1', true],
  ['127.0.0.1:1', '127.0.0.1:2', false],
  ['127.0.0.1:0', '127.0.0.1:0', false],
  ['127.0.0.1:1', '127.0.0.2:1', false],
  ['0.0.0.0:1', '127.0.0.1:1', true],
  ['0.0.0.0:1', '[::1]:1', false],
  ['[::]:1', '127.0.0.1:1', true],
  ['[::]:1', '0.0.0.0:1', true],
  ['[::]:1', '[0::0]:1', true],
])('%s and %s collide: %s', (a, b, expected) => {
  expect(collide(parse(a), parse(b))).toBe(expected);
  expect(collide(parse(b), parse(a))).toBe(expected);
});

test('[::] that takes no IPv4 collides with IPv6 alone', () => {
  const wildcard = { ...parse('[::]:1'), v6Only: true };
  expect(collide(wildcard, parse('127.0.0.1:1'))).toBe(false);
  expect(collide(parse('0.0.0.0:1'), wildcard)).toBe(false);
  expect(collide(wildcard, parse('[::1]:1'))).toBe(true);
});

test.each([
  ['127.9.9.9:1', true],
  ['[::1]:1', true],
  ['localhost:1', true],
  ['0.0.0.0:1', false],
  ['[::]:1', false],
  ['10.0.0.1:1', false],
  ['127.example.com:1', false],
])('%s is reachable from this machine alone: %s', (text, expected) => expect(isLoopback(parse(text))).toBe(expected));
