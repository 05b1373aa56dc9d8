import { createHash } from 'node:crypto';
import type { Digest } from '../../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** Bytes that do not repeat within a MiB, so that a wrong offset shows. */
export function patternBytes(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  let state = seed;
  for (let at = 0; at < sizeBytes; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

export const REPOSITORY = 'team/app';
export const TAG = 'v1';

const blobBytes = patternBytes(300_000);
const configBytes = Buffer.from('{"architecture":"amd64","os":"linux"}');
const manifestBytes = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(configBytes),
      size: configBytes.byteLength,
    },
    layers: [
      {
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        digest: digestOf(blobBytes),
        size: blobBytes.byteLength,
      },
    ],
  }),
);

/** One image, at any repository that a registry is asked for. */
export const BLOB = { bytes: blobBytes, digest: digestOf(blobBytes) };
export const CONFIG = { bytes: configBytes, digest: digestOf(configBytes) };
export const MANIFEST = { bytes: manifestBytes, digest: digestOf(manifestBytes), mediaType: MEDIA_TYPES.ociManifest };
