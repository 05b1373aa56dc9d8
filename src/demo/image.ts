import { createCipheriv, createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import { createTar } from './tar.ts';

const MIB = 1024 * 1024;

export interface ImageBlob {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface DemoImage {
  readonly index: ImageBlob;
  readonly manifest: ImageBlob;
  /** The config, then what the manifest calls layers, in its order. */
  readonly blobs: readonly ImageBlob[];
  /** Everything that a client has to get: index, manifest and blobs. */
  readonly sizeBytes: number;
}

/** What lies in the image: a text that shrinks, and noise that doesn't. Small ones first: cheap to unpack by copying. */
const NOISE_MIB = [2, 4, 10, 16, 24];

/**
 * An image that any runtime can unpack, the same bytes on each run (and others for another seed): index → manifest → config and six tar files.
 * The noise is put into gzip unpacked (level 0), so that making 56 MiB takes half a second.
 */
export function buildImage(noiseMib: readonly number[] = NOISE_MIB, seed = 'noise'): DemoImage {
  const layers: { blob: ImageBlob; diffId: Digest }[] = [];
  const text = Buffer.from(`Haul every image into the cluster once. (${seed})\n`.repeat(20_000));
  const directories = ['usr/', 'usr/share/', 'usr/share/windlass-demo/'].map((path) => ({ path, bytes: Buffer.of() }));
  const first = createTar([...directories, { path: 'usr/share/windlass-demo/README', bytes: text }]);
  layers.push({ blob: imageBlob(LAYER_GZIP, gzipSync(first, { level: 6 })), diffId: digestOf(first) });
  for (const [i, mib] of noiseMib.entries()) {
    const tar = createTar([
      { path: `usr/share/windlass-demo/noise-${i + 1}`, bytes: noise(`${seed} ${i + 1}`, mib * MIB) },
    ]);
    // One is left a plain tar: runtimes take both.
    const blob = i === 1 ? imageBlob(LAYER_TAR, tar) : imageBlob(LAYER_GZIP, gzipSync(tar, { level: 0 }));
    layers.push({ blob, diffId: digestOf(tar) });
  }
  const platform = { architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux' };
  const config = json('application/vnd.oci.image.config.v1+json', {
    created: '1970-01-01T00:00:00Z',
    ...platform,
    config: { Env: ['PATH=/usr/bin:/bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  });
  const blobs = [config, ...layers.map((layer) => layer.blob)];
  const manifest = json(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptor(config),
    layers: layers.map((layer) => descriptor(layer.blob)),
  });
  const index = json(MEDIA_TYPES.ociIndex, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ ...descriptor(manifest), platform }],
  });
  const sizeBytes = [index, manifest, ...blobs].reduce((sum, blob) => sum + blob.bytes.length, 0);
  return { index, manifest, blobs, sizeBytes };
}

const LAYER_GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const LAYER_TAR = 'application/vnd.oci.image.layer.v1.tar';

/** The key stream of a cipher: as good as random, repeatable, a GiB a second. */
function noise(seed: string, sizeBytes: number): Buffer {
  const key = createHash('sha256').update(`windlass demo: ${seed}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}

function json(mediaType: string, value: unknown): ImageBlob {
  return imageBlob(mediaType, Buffer.from(JSON.stringify(value)));
}

function imageBlob(mediaType: string, bytes: Buffer): ImageBlob {
  return { digest: digestOf(bytes), mediaType, bytes };
}

function descriptor({ mediaType, digest, bytes }: ImageBlob): { mediaType: string; digest: Digest; size: number } {
  return { mediaType, digest, size: bytes.length };
}

function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}
