import { expect, test } from 'vitest';
import { isDataKey, isNamespaceName, isObjectName } from '../../../src/config/object-name.ts';

test.each(['windlass', 'a', 'windlass-0.cluster', '0-9', 'a'.repeat(253), `${'a'.repeat(64)}.b`])(
  '%s is a name',
  (text) => {
    expect(isObjectName(text)).toBe(true);
  },
);

test.each([
  '',
  'A',
  '-a',
  'a-',
  'a..b',
  '.a',
  'a_b',
  'a/b',
  '..',
  'a%2fb',
  'a?b',
  'a'.repeat(254),
  'a-.b',
  'a.'.repeat(127),
])('"%s" is none', (text) => {
  expect(isObjectName(text)).toBe(false);
});

test('a namespace has no dots, and at most 63 characters', () => {
  expect([
    isNamespaceName('kube-system'),
    isNamespaceName('a.b'),
    isNamespaceName('a/b'),
    isNamespaceName('a'.repeat(64)),
  ]).toEqual([true, false, false, false]);
});

test('the key of a secret may have dots, but is no way out of a folder', () => {
  expect(['secret', 'tls.crt', 'A_b-c', '.hidden'].filter((text) => !isDataKey(text))).toEqual([]);
  expect(['', '.', '..', '..x', 'a/b', 'a b'].filter(isDataKey)).toEqual([]);
});
