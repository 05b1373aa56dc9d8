import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bareMediaType, isManifestMediaType, MEDIA_TYPES, readManifest } from '../../../src/oci/manifest.ts';

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const descriptor = (n: number, size = n) => ({ mediaType: 'application/x', digest: digest(n), size });
const bytes = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const image = { schemaVersion: 2, config: descriptor(1), layers: [descriptor(2), descriptor(3)] };

describe('the media type of a manifest', () => {
  it.each([
    ['what it says', { ...image, mediaType: MEDIA_TYPES.dockerManifest }, MEDIA_TYPES.dockerManifest],
    ['an OCI manifest by its shape', image, MEDIA_TYPES.ociManifest],
    ['an OCI index by its shape', { schemaVersion: 2, manifests: [descriptor(1)] }, MEDIA_TYPES.ociIndex],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, MEDIA_TYPES.dockerSchema1],
    ['signed schema 1', { schemaVersion: 1, fsLayers: [], signatures: [] }, MEDIA_TYPES.dockerSchema1Signed],
    [
      'by its shape where mediaType is longer than anybody takes',
      { ...image, mediaType: `application/${'x'.repeat(128)}` },
      MEDIA_TYPES.ociManifest,
    ],
    ['by its shape where mediaType is no media type', { ...image, mediaType: 'a b' }, MEDIA_TYPES.ociManifest],
    [
      'an unknown one with the shape of a manifest',
      { ...image, mediaType: 'application/vnd.x+json' },
      'application/vnd.x+json',
    ],
    ['an artifact', { mediaType: MEDIA_TYPES.ociArtifact, blobs: [descriptor(4)] }, MEDIA_TYPES.ociArtifact],
  ])('is %s', (_, json, expected) => {
    expect(readManifest(bytes(json))?.mediaType).toBe(expected);
  });

  it.each([
    ['HTML', '<html></html>'],
    ['nothing', ''],
    ['null', 'null'],
    ['an array', '[]'],
    ['a number', '2'],
    ['an empty object', {}],
    ['an image config', { architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } }],
    ['a config that carries a media type', { mediaType: 'application/vnd.oci.image.config.v1+json' }],
    ['an error of a registry', { errors: [{ code: 'UNAUTHORIZED' }] }],
    ['a schema of the future', { schemaVersion: 3, layers: [], config: {} }],
    ['layers without a config', { schemaVersion: 2, layers: [] }],
    ['half a manifest', JSON.stringify(image).slice(0, -1)],
  ])('is none for %s', (_, json) => {
    expect(readManifest(bytes(json))).toBeUndefined();
  });

  it('is none for bytes that are not UTF-8', () => {
    const manifest = bytes({ ...image, annotations: { a: '\u00e9' } });
    const latin1 = Buffer.from(new TextDecoder().decode(manifest), 'latin1');
    expect(readManifest(manifest)).toBeDefined();
    expect(readManifest(latin1)).toBeUndefined();
  });
});

describe('the children of a manifest', () => {
  it('are config and layers, or manifests, in order', () => {
    expect(readManifest(bytes(image))?.children.map((child) => child.digest)).toEqual([1, 2, 3].map(digest));
    const index = { schemaVersion: 2, manifests: [descriptor(5, 700), descriptor(6, 1)] };
    expect(readManifest(bytes(index))?.children).toEqual([
      { digest: digest(5), sizeBytes: 700, mediaType: 'application/x' },
      { digest: digest(6), sizeBytes: 1, mediaType: 'application/x' },
    ]);
  });

  it.each([
    ['no digest', { size: 1 }],
    ['a digest that is a path', { digest: 'sha256:../../etc/passwd', size: 1 }],
    ['a size that is text', { digest: digest(9), size: '1' }],
    ['a negative size', { digest: digest(9), size: -1 }],
    ['half a byte', { digest: digest(9), size: 0.5 }],
    ['a size above every safe integer', { digest: digest(9), size: 1e300 }],
    ['no descriptor at all', null],
  ])('leave out one that has %s', (_, broken) => {
    const children = readManifest(bytes({ ...image, layers: [broken, descriptor(3)] }))?.children;
    expect(children?.map((child) => child.digest)).toEqual([digest(1), digest(3)]);
  });
});

describe('a Content-Type', () => {
  it('is a manifest’s whatever its case and parameters', () => {
    expect(isManifestMediaType(`${MEDIA_TYPES.ociIndex.toUpperCase()} ; charset=utf-8`)).toBe(true);
    expect(bareMediaType(' Text/HTML; charset=x')).toBe('text/html');
  });

  it.each([undefined, '', 'text/plain', 'application/octet-stream', 'application/json', 'text/html'])(
    'is not a manifest’s: %s',
    (value) => {
      expect(isManifestMediaType(value)).toBe(false);
    },
  );
});

describe('what a manifest may cost', () => {
  it.each([
    ['deep', `{"schemaVersion":2,"config":{},"layers":${'['.repeat(500_000)}${']'.repeat(500_000)}}`],
    ['wide', `{"schemaVersion":2,"config":{},"layers":[${'{},'.repeat(500_000)}{}]}`],
  ])('%s JSON, which would fill the memory, is not read', (_, json) => {
    expect(readManifest(bytes(json))).toBeUndefined();
  });

  it('a large annotation is no reason to refuse it', () => {
    const json = { ...image, annotations: { a: 'x'.repeat(1_000_000) } };
    expect(readManifest(bytes(json))?.children).toHaveLength(3);
  });

  it('the first 4096 children are listed', () => {
    const manifests = Array.from({ length: 5000 }, (_, n) => descriptor(n + 1));
    const info = readManifest(bytes({ schemaVersion: 2, manifests }));
    expect(info?.children.map(({ sizeBytes }) => sizeBytes)).toEqual(Array.from({ length: 4096 }, (_, n) => n + 1));
  });
});

describe('a child of 0 bytes', () => {
  it('is believed of the digest of nothing alone', () => {
    const nothing = `sha256:${createHash('sha256').digest('hex')}`;
    const nothing512 = `sha512:${createHash('sha512').digest('hex')}`;
    const layers = [descriptor(2, 0), { digest: nothing, size: 0 }, { digest: nothing512, size: 0 }];
    const children = readManifest(bytes({ ...image, layers }))?.children;
    expect(children?.map((child) => child.digest)).toEqual([digest(1), nothing, nothing512]);
  });
});
