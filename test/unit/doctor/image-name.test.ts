import { expect, test } from 'vitest';
import { parseImageName } from '../../../src/doctor/image-name.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

test.each([
  ['redis', 'docker.io', 'library/redis', 'latest'],
  ['redis:7', 'docker.io', 'library/redis', '7'],
  ['grafana/loki:3', 'docker.io', 'grafana/loki', '3'],
  ['docker.io/library/redis:7', 'docker.io', 'library/redis', '7'],
  ['registry.local:5000/a', 'registry.local:5000', 'a', 'latest'],
  ['localhost/a/b:1', 'localhost', 'a/b', '1'],
  [`quay.io/a/b:1@${DIGEST}`, 'quay.io', 'a/b', DIGEST],
])('%s', (text, registry, repository, reference) => {
  expect(parseImageName(text)).toEqual({ text, registry, repository, reference });
});

test.each(['', ':1', 'a b', 'quay.io/', 'quay.io/A', 'quay.io/a:', 'quay.io/a@sha256:short', 'a/../b'])(
  '%j is none',
  (text) => {
    expect(() => parseImageName(text)).toThrow(/not a/);
  },
);
