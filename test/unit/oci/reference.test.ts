import { describe, expect, it } from 'vitest';
import { hasCode } from '../../../src/errors.ts';
import { isRepository, isTag, parseRegistryHost, parseRepository, parseTag } from '../../../src/oci/reference.ts';

const refusal = expect.toSatisfy((error) => hasCode(error, 'INVALID_NAME'));

describe('a repository name', () => {
  it.each([
    'redis',
    'library/redis',
    'a/b/c/d',
    'a-b/c_d/e__f/g.h',
    'a---b',
    '0',
    `${'a'.repeat(255)}`,
    'x/blobs/y',
    'manifests',
  ])('may be %s', (text) => {
    expect(parseRepository(text)).toBe(text);
  });

  it.each([
    ['nothing', ''],
    ['upper case', 'Library/redis'],
    ['a leading slash', '/redis'],
    ['a trailing slash', 'redis/'],
    ['an empty part', 'a//b'],
    ['a parent directory', '../etc'],
    ['a parent directory inside', 'a/../b'],
    ['a dot part', 'a/./b'],
    ['a leading separator', '-a'],
    ['a trailing separator', 'a-'],
    ['two dots', 'a..b'],
    ['three underscores', 'a___b'],
    ['mixed separators', 'a-_b'],
    ['an encoded slash', 'a%2fb'],
    ['a backslash', 'a\\b'],
    ['a port', 'localhost:5000/a'],
    ['a line feed at the end', 'redis\n'],
    ['a space', 'a b'],
    ['a letter that is not ASCII', 'redís'],
    ['256 characters', 'a'.repeat(256)],
  ])('may not have %s', (_, text) => {
    expect(isRepository(text)).toBe(false);
    expect(() => parseRepository(text)).toThrow(refusal);
  });
});

describe('a tag', () => {
  it.each(['7', 'latest', 'v1.2.3-rc.1', '_x', 'A', 'a'.repeat(128)])('may be %s', (text) => {
    expect(parseTag(text)).toBe(text);
  });

  it.each([
    ['nothing', ''],
    ['a leading dot', '.a'],
    ['a leading hyphen', '-a'],
    ['a parent directory', '..'],
    ['a slash', 'a/b'],
    ['a digest', `sha256:${'0'.repeat(64)}`],
    ['129 characters', 'a'.repeat(129)],
    ['a line feed at the end', 'latest\n'],
  ])('may not be or have %s', (_, text) => {
    expect(isTag(text)).toBe(false);
    expect(() => parseTag(text)).toThrow(refusal);
  });
});

describe('a registry host', () => {
  it.each([
    ['docker.io', 'docker.io'],
    ['Registry.Example.COM:5000', 'registry.example.com:5000'],
    ['localhost:1', 'localhost:1'],
    ['10.0.0.2:65535', '10.0.0.2:65535'],
    ['[::1]:5000', '[::1]:5000'],
    ['[2001:DB8::1]', '[2001:db8::1]'],
    ['my_registry:5000', 'my_registry:5000'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ])('may be %s', (text, expected) => {
    expect(parseRegistryHost(text)).toBe(expected);
  });

  it.each([
    ['nothing', ''],
    ['a path', 'docker.io/library'],
    ['a scheme', 'https://docker.io'],
    ['user information', 'user@docker.io'],
    ['a port of 0', 'docker.io:0'],
    ['a port above 65535', 'docker.io:65536'],
    ['an empty port', 'docker.io:'],
    ['a port with a sign', 'docker.io:+80'],
    ['an empty label', 'docker..io'],
    ['a parent directory', '..'],
    ['a trailing dot', 'docker.io.'],
    ['brackets around no address', '[:::::]'],
    ['brackets around an IPv4 address', '[127.0.0.1]'],
    ['an address with a zone', '[fe80::1%25eth0]'],
    ['an address without brackets', '::1'],
    ['a line feed at the end', 'docker.io\n'],
    ['a query', 'docker.io?x'],
    ['a space', 'docker .io'],
    ['more than 261 characters', 'a'.repeat(262)],
  ])('may not be or have %s', (_, text) => {
    expect(() => parseRegistryHost(text)).toThrow(refusal);
  });
});
