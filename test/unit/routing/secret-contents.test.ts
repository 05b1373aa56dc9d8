import { expect, test } from 'vitest';
import { freshSecret, parseSecret } from '../../../src/routing/secret-contents.ts';

test('a fresh secret is 32 random bytes in base64, and one that agents take', () => {
  const [one, two] = [freshSecret(), freshSecret()];
  expect(Buffer.from(one, 'base64')).toHaveLength(32);
  expect(parseSecret(Buffer.from(one)).toString()).toBe(one);
  expect(one).not.toBe(two);
});

test.each(['', '\n', 'x'.repeat(15), `${'x'.repeat(15)}\r\n`])('%j is too short, and not quoted', (text) => {
  expect(() => parseSecret(Buffer.from(text))).toThrow(/^has \d+ bytes, at least 16 are needed$/);
});

test('the ends of lines behind it are none of it', () => {
  expect(parseSecret(Buffer.from(`${'x'.repeat(16)}\r\n\n`)).toString()).toBe('x'.repeat(16));
});
