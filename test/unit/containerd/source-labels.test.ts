import { expect, test } from 'vitest';
import { sourcesOf } from '../../../src/containerd/source-labels.ts';

const LABEL = 'containerd.io/distribution.source.';

test('labels name the repositories that a content came from', () => {
  const labels = {
    [`${LABEL}docker.io`]: 'library/redis,mirror/redis',
    [`${LABEL}ghcr.io`]: 'team/app',
    'containerd.io/gc.ref.content.0': 'sha256:aa',
  };
  expect(sourcesOf(labels)).toEqual([
    { registry: 'docker.io', repository: 'library/redis' },
    { registry: 'docker.io', repository: 'mirror/redis' },
    { registry: 'ghcr.io', repository: 'team/app' },
  ]);
});

test('a host is the same however it is written', () => {
  expect(sourcesOf({ [`${LABEL}Registry.Example`]: 'team/app' })).toEqual([
    { registry: 'registry.example', repository: 'team/app' },
  ]);
});

test('what was built or imported here came from nowhere', () => {
  expect(sourcesOf({})).toEqual([]);
  expect(sourcesOf({ 'containerd.io/uncompressed': 'sha256:aa' })).toEqual([]);
});

test('what is no repository is passed over, and of very many only some are looked at', () => {
  expect(sourcesOf({ [`${LABEL}docker.io`]: '../../etc,,Library/redis,a' })).toEqual([
    { registry: 'docker.io', repository: 'a' },
  ]);
  expect(sourcesOf({ [LABEL]: 'library/redis' })).toEqual([]);
  const many = Array.from({ length: 1000 }, (_, index) => `a/b${index}`).join();
  expect(sourcesOf({ [`${LABEL}docker.io`]: many })).toHaveLength(16);
});
