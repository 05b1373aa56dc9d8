import { expect, test } from 'vitest';
import { parseDropTarget, showDropTarget } from '../../../src/status/drop-target.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

test.each([
  [DIGEST, DIGEST],
  [`docker.io/library/redis@${DIGEST}`, DIGEST],
  [`docker.io/library/redis:7@${DIGEST}`, DIGEST],
  ['docker.io/library/redis:7', 'docker.io/library/redis:7'],
  ['Registry.Local:5000/a:v1.2-x', 'registry.local:5000/a:v1.2-x'],
  ['localhost/a/b/c:latest', 'localhost/a/b/c:latest'],
  ['[::1]:5000/a:1', '[::1]:5000/a:1'],
])('%s is %s', (text, shown) => expect(showDropTarget(parseDropTarget(text))).toBe(shown));

test('registry, repository and tag are told apart', () => {
  expect(parseDropTarget('r.local:5000/a/b:1')).toEqual({
    kind: 'tag',
    name: { registry: 'r.local:5000', repository: 'a/b' },
    tag: '1',
  });
});

test.each([
  ['', 'names no registry'],
  ['redis:7', 'names no registry'],
  ['library/redis:7', 'names no registry'],
  ['docker.io/library/redis', 'names no tag'],
  ['r.local:5000/redis', 'names no tag'],
  ['docker.io/Library/redis:7', 'not a repository name'],
  ['docker.io/library/redis:a b', 'not a tag'],
  ['docker.io/library/redis:', 'not a tag'],
  ['sha256:abc', 'the digest is none'],
  [DIGEST.toUpperCase().replace('SHA', 'sha'), 'the digest is none'],
  ['docker.io/library/redis@sha256:abc', 'the digest is none'],
])('%j is neither digest nor tag: %s', (text, why) => {
  expect(() => parseDropTarget(text)).toThrow(expect.objectContaining({ code: 'INVALID_NAME' }));
  expect(() => parseDropTarget(text)).toThrow(why);
  expect(() => parseDropTarget(text)).toThrow('docker.io/library/redis:7');
});
