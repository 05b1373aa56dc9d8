import { expect, test } from 'vitest';
import { isTaintKey, suggestTaintKey } from '../../../src/config/taint-key.ts';

test.each([
  'windlass.dev/agent-not-ready',
  'plain',
  'a.b-c.example/With_Capitals.9',
  'x',
  `${'a'.repeat(253)}/${'b'.repeat(63)}`,
])('%s is a key', (text) => {
  expect(isTaintKey(text)).toBe(true);
});

test.each([
  ...['', '/x', 'a/', 'a/b/c', 'UPPER.dev/x', '-a', 'a-', 'a b', 'a=b', 'a:NoSchedule'],
  ...['a'.repeat(64), `${'a'.repeat(254)}/b`],
])('"%s" is none', (text) => {
  expect(isTaintKey(text)).toBe(false);
});

test('of a whole taint the key is suggested', () => {
  expect(suggestTaintKey('windlass.dev/agent-not-ready=:NoSchedule')).toBe('windlass.dev/agent-not-ready');
  expect(suggestTaintKey('windlass.dev/agent-not-ready:NoSchedule')).toBe('windlass.dev/agent-not-ready');
  expect(suggestTaintKey('a b')).toBeUndefined();
  expect(suggestTaintKey('=x')).toBeUndefined();
});
