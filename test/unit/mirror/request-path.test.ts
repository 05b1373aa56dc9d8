import { describe, expect, test } from 'vitest';
import { readTarget } from '../../../src/mirror/request-path.ts';

const LISTED = new Set(['docker.io', 'ghcr.io', 'registry.local:5000', 'localhost', '[::1]:5000', 'gcr.io']);
const options = { defaultRegistry: 'docker.io', isListed: (host: string) => LISTED.has(host) };
const SHA256 = `sha256:${'a'.repeat(64)}`;
const SHA512 = `sha512:${'b'.repeat(128)}`;
const read = (url: string) => readTarget(url, options);
const origin = (registry: string, repository: string) => ({ registry, repository });

describe('what a path names', () => {
  test.each([
    ['/v2/', { kind: 'ping' }],
    ['/v2', { kind: 'ping' }],
    ['/v2/?ns=ghcr.io', { kind: 'ping' }],
    [`/v2/a/b/blobs/${SHA256}`, { kind: 'blob', digest: SHA256, origin: origin('docker.io', 'a/b') }],
    [`/v2/a/b/blobs/${SHA512}`, { kind: 'blob', digest: SHA512, origin: origin('docker.io', 'a/b') }],
    [`/v2/a/b/manifests/${SHA256}`, { kind: 'manifest', digest: SHA256, origin: origin('docker.io', 'a/b') }],
    ['/v2/a/b/manifests/v1.0_x-Y', { kind: 'tag', tag: 'v1.0_x-Y', origin: origin('docker.io', 'a/b') }],
    [`/v2/a/b/blobs/sha256%3A${'a'.repeat(64)}`, { kind: 'blob', digest: SHA256, origin: origin('docker.io', 'a/b') }],
    [
      '/v2/a/b/tags/list?n=5&last=x',
      { kind: 'relay', origin: origin('docker.io', 'a/b'), path: 'tags/list?n=5&last=x' },
    ],
    ['/v2/a/b/tags/list?ns=ghcr.io', { kind: 'relay', origin: origin('ghcr.io', 'a/b'), path: 'tags/list' }],
    [
      `/v2/a/b/referrers/${SHA256}?artifactType=x%2Fy&ns=ghcr.io`,
      { kind: 'relay', origin: origin('ghcr.io', 'a/b'), path: `referrers/${SHA256}?artifactType=x%2Fy` },
    ],
    // A repository may be called like a part of the API.
    [`/v2/blobs/blobs/${SHA256}`, { kind: 'blob', digest: SHA256, origin: origin('docker.io', 'library/blobs') }],
    ['/v2/tags/list/manifests/list', { kind: 'tag', tag: 'list', origin: origin('docker.io', 'tags/list') }],
  ])('%s', (url, target) => expect(read(url)).toEqual(target));
});

describe('which registry', () => {
  test.each([
    // ns first
    ['/v2/redis/manifests/7?ns=docker.io', 'docker.io', 'library/redis'],
    ['/v2/library/redis/manifests/7?ns=docker.io', 'docker.io', 'library/redis'],
    ['/v2/redis/manifests/7?ns=GHCR.io', 'ghcr.io', 'redis'],
    ['/v2/redis/manifests/7?ns=registry.local:5000', 'registry.local:5000', 'redis'],
    ['/v2/redis/manifests/7?ns=%5B::1%5D:5000', '[::1]:5000', 'redis'],
    ['/v2/redis/manifests/7?ns=index.docker.io', 'docker.io', 'library/redis'],
    ['/v2/redis/manifests/7?ns=registry-1.docker.io', 'docker.io', 'library/redis'],
    // not on the list: named as it is; the mirror refuses it
    ['/v2/redis/manifests/7?ns=evil.example', 'evil.example', 'redis'],
    ['/v2/gcr.io/a/manifests/7?ns=ghcr.io', 'ghcr.io', 'gcr.io/a'],
    // a listed host in the path
    ['/v2/ghcr.io/a/manifests/7', 'ghcr.io', 'a'],
    ['/v2/GHCR.IO/a/manifests/7', 'ghcr.io', 'a'],
    ['/v2/registry.local:5000/a/b/manifests/7', 'registry.local:5000', 'a/b'],
    ['/v2/registry.local%3A5000/a/b/manifests/7', 'registry.local:5000', 'a/b'],
    ['/v2/localhost/a/manifests/7', 'localhost', 'a'],
    ['/v2/%5B::1%5D:5000/a/manifests/7', '[::1]:5000', 'a'],
    ['/v2/docker.io/redis/manifests/7', 'docker.io', 'library/redis'],
    // else the default
    ['/v2/redis/manifests/7', 'docker.io', 'library/redis'],
    ['/v2/quay.io/a/manifests/7', 'docker.io', 'quay.io/a'],
    ['/v2/ghcr.io/manifests/7', 'docker.io', 'library/ghcr.io'],
  ])('%s', (url, registry, repository) => {
    expect(read(url)).toMatchObject({ kind: 'tag', tag: '7', origin: { registry, repository } });
  });

  test('short names belong to Docker Hub alone', () => {
    const target = readTarget('/v2/redis/manifests/7', { ...options, defaultRegistry: 'ghcr.io' });
    expect(target).toMatchObject({ origin: origin('ghcr.io', 'redis') });
  });
});

describe('refused', () => {
  test.each([
    ['/v2/../etc/passwd/manifests/7', 'INVALID_NAME'],
    ['/v2/a/../b/manifests/7', 'INVALID_NAME'],
    ['/v2/a/%2e%2e/b/manifests/7', 'INVALID_NAME'],
    ['/v2/a/%2E%2E%2Fb/manifests/7', 'INVALID_NAME'],
    ['/v2/a%2Fb/manifests/7', 'INVALID_NAME'],
    ['/v2/a%252Fb/manifests/7', 'INVALID_NAME'],
    ['/v2/a/b/manifests/..', 'INVALID_NAME'],
    ['/v2/a/b/manifests/x%2Fy', 'INVALID_NAME'],
    ['/v2/a//b/manifests/7', 'INVALID_NAME'],
    ['/v2//a/manifests/7', 'INVALID_NAME'],
    ['/v2/manifests/7', 'INVALID_NAME'],
    ['/v2/a/manifests/', 'INVALID_NAME'],
    ['/v2/A/manifests/7', 'INVALID_NAME'],
    ['/v2/a\\b/manifests/7', 'INVALID_NAME'],
    ['/v2/a%00b/manifests/7', 'INVALID_NAME'],
    ['/v2/a%/manifests/7', 'INVALID_NAME'],
    ['/v2/a%c3%28/manifests/7', 'INVALID_NAME'],
    [`/v2/a/manifests/${'x'.repeat(129)}`, 'INVALID_NAME'],
    [`/v2/${'x'.repeat(300)}/manifests/7`, 'INVALID_NAME'],
    [`/v2/${'x/'.repeat(40_000)}manifests/7`, 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=ghcr.io&ns=ghcr.io', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=user:secret@ghcr.io', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=ghcr.io/path', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=http://ghcr.io', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=ghcr.io:99999', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=..', 'INVALID_NAME'],
    ['/v2/a/manifests/7?ns=a%0d%0ab', 'INVALID_NAME'],
    ['/v2/a/blobs/sha256:abc', 'INVALID_DIGEST'],
    ['/v2/a/blobs/latest', 'INVALID_DIGEST'],
    [`/v2/a/blobs/sha256:${'A'.repeat(64)}`, 'INVALID_DIGEST'],
    [`/v2/a/blobs/md5:${'a'.repeat(32)}`, 'INVALID_DIGEST'],
    [`/v2/a/blobs/sha512:${'a'.repeat(64)}`, 'INVALID_DIGEST'],
    ['/v2/a/manifests/sha256:abc', 'INVALID_DIGEST'],
    ['/v2/a/referrers/latest', 'INVALID_DIGEST'],
    ['/', 'NOT_FOUND'],
    ['/v1/a/manifests/7', 'NOT_FOUND'],
    ['/v2/a', 'NOT_FOUND'],
    ['/v2/_catalog', 'NOT_FOUND'],
    ['/v2/a/tags/other', 'NOT_FOUND'],
    ['/v2/a/blobs/uploads/', 'NOT_FOUND'],
    [`/v2/a/blobs/${SHA256}/`, 'NOT_FOUND'],
    ['http://ghcr.io/v2/a/manifests/7', 'NOT_FOUND'],
  ])('%s', (url, code) => {
    expect(() => read(url)).toThrow(expect.objectContaining({ code }));
  });
});
