import { expect, test } from 'vitest';
import { DEFAULT_REGISTRIES } from '../../../src/config/default-registries.ts';
import { matchesHostPattern, parseHostPattern } from '../../../src/config/registry-host.ts';

test.each([
  ['docker.io', 'docker.io'],
  ['GHCR.io', 'ghcr.io'],
  ['registry.local:5000', 'registry.local:5000'],
  ['localhost', 'localhost'],
  ['[::1]:5000', '[::1]:5000'],
  ['10.0.0.1:5000', '10.0.0.1:5000'],
  ['*', '*'],
  ['*.pkg.dev', '*.pkg.dev'],
  ['*.example.com:5000', '*.example.com:5000'],
])('%s is the host %s', (text, host) => expect(parseHostPattern(text)).toBe(host));

test.each([
  '',
  'https://docker.io',
  'docker.io/library',
  'a..b',
  '-a',
  'a-',
  '.a',
  'a:0',
  'a:65536',
  'a:',
  '*.',
  '**',
  'a.*',
  '*a.b',
  '*.*.b',
  'a b',
  'user@a',
  'a\n',
  `${'a'.repeat(262)}`,
])('%j is no host', (text) => expect(parseHostPattern(text)).toBeUndefined());

test.each([
  ['*', 'anything.at.all:5000', true],
  ['*.pkg.dev', 'europe-docker.pkg.dev', true],
  ['*.pkg.dev', 'a.b.pkg.dev', true],
  ['*.pkg.dev', 'pkg.dev', false],
  ['*.pkg.dev', '.pkg.dev', false],
  ['*.pkg.dev', 'evilpkg.dev', false],
  ['*.pkg.dev', 'a.pkg.dev.evil.com', false],
  ['docker.io', 'docker.io', true],
  ['docker.io', 'docker.io:5000', false],
])('%s allows %s: %s', (pattern, host, expected) => expect(matchesHostPattern(pattern, host)).toBe(expected));

test('the default registries are hosts, each once, and none stands for any host', () => {
  expect(DEFAULT_REGISTRIES.map(parseHostPattern)).toEqual(DEFAULT_REGISTRIES);
  expect(new Set(DEFAULT_REGISTRIES).size).toBe(DEFAULT_REGISTRIES.length);
  expect(DEFAULT_REGISTRIES).not.toContain('*');
});
