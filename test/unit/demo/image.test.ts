import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { buildImage, type ImageBlob } from '../../../src/demo/image.ts';
import { createTar } from '../../../src/demo/tar.ts';
import { readManifest } from '../../../src/oci/manifest.ts';

const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const unpack = (blob: ImageBlob) => (blob.mediaType.endsWith('+gzip') ? gunzipSync(blob.bytes) : blob.bytes);
const image = buildImage([1, 2]);

describe('the demo image', () => {
  it('is the same on each run', () => {
    expect(buildImage([1, 2]).index.digest).toBe(image.index.digest);
  });

  it('names everything by the digest and the size that it has', () => {
    const { index, manifest, blobs } = image;
    for (const blob of [index, manifest, ...blobs]) expect(blob.digest).toBe(sha256(blob.bytes));
    expect(readManifest(index.bytes)?.children).toMatchObject([
      { digest: manifest.digest, sizeBytes: manifest.bytes.length, mediaType: manifest.mediaType },
    ]);
    expect(readManifest(manifest.bytes)?.children).toEqual(
      blobs.map(({ digest, bytes, mediaType }) => ({ digest, sizeBytes: bytes.length, mediaType })),
    );
    expect(image.sizeBytes).toBe([index, manifest, ...blobs].reduce((sum, blob) => sum + blob.bytes.length, 0));
  });

  it('says in its config what its blobs unpack to', () => {
    const [config, ...layers] = image.blobs;
    const { rootfs } = JSON.parse(String(config?.bytes));
    expect(rootfs.diff_ids).toEqual(layers.map((layer) => sha256(unpack(layer))));
  });

  it('holds both kinds, packed and plain, and noise that does not shrink', () => {
    expect(new Set(image.blobs.map((blob) => blob.mediaType)).size).toBe(3);
    expect(image.sizeBytes).toBeGreaterThan(3 * 1024 * 1024);
  });
});

describe('a tar file', () => {
  it('is read by tar, names and bytes', () => {
    const text = 'x'.repeat(513);
    const archive = createTar([
      { path: 'usr/', bytes: Buffer.of() },
      { path: 'usr/empty', bytes: Buffer.of() },
      { path: 'usr/text', bytes: Buffer.from(text) },
    ]);
    expect(archive.length % 512).toBe(0);
    const listed = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--utc'], { input: archive });
    const lines = String(listed).trim().split('\n');
    expect(lines.map((line) => line.split(/\s+/))).toEqual([
      ['drwxr-xr-x', '0/0', '0', '1970-01-01', '00:00', 'usr/'],
      ['-rw-r--r--', '0/0', '0', '1970-01-01', '00:00', 'usr/empty'],
      ['-rw-r--r--', '0/0', '513', '1970-01-01', '00:00', 'usr/text'],
    ]);
    expect(String(execFileSync('tar', ['--extract', '--to-stdout', 'usr/text'], { input: archive }))).toBe(text);
  });

  it('refuses a path that its header cannot hold', () => {
    expect(() => createTar([{ path: 'ü'.repeat(51), bytes: Buffer.of() }])).toThrow(RangeError);
  });
});
