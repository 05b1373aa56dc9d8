import { createCipheriv, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { tar } from './tar.ts';

type ImageFormat = 'oci' | 'docker';

export interface ImageBlob {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** An image in memory, as a registry holds it. */
export interface Image {
  readonly config: ImageBlob;
  readonly layers: readonly ImageBlob[];
  readonly manifest: ImageBlob;
  /** Undefined unless asked for. */
  readonly index: ImageBlob | undefined;
  /** What a tag names: the index, or the manifest. */
  readonly top: ImageBlob;
  /** Config and layers. */
  readonly blobs: readonly ImageBlob[];
  readonly totalBytes: number;
}

interface ImageFile {
  /** Relative to the root. */
  readonly path: string;
  readonly bytes: Buffer;
  readonly mode?: number;
}

export interface ImageOptions {
  /** The same seed gives the same bytes. */
  readonly seed?: string;
  readonly format?: ImageFormat;
  /** One layer for each, holding one file of that many random bytes. */
  readonly layerBytes?: readonly number[];
  /** More layers, before those. */
  readonly layerFiles?: readonly (readonly ImageFile[])[];
  /** Random bytes do not shrink; gzip is what registries hold most of. */
  readonly gzip?: boolean;
  /** Wraps the manifest in an index, or manifest list. */
  readonly index?: boolean;
  readonly command?: readonly string[];
  /** Makes it a referrer: an artifact about another manifest. */
  readonly subject?: ImageBlob;
}

const DOCKER_TYPES = {
  config: 'application/vnd.docker.container.image.v1+json',
  tar: 'application/vnd.docker.image.rootfs.diff.tar',
  gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  manifest: MEDIA_TYPES.dockerManifest,
  index: MEDIA_TYPES.dockerList,
};
const OCI_TYPES = {
  config: 'application/vnd.oci.image.config.v1+json',
  tar: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  manifest: MEDIA_TYPES.ociManifest,
  index: MEDIA_TYPES.ociIndex,
};

/** Bytes that look random, the same for the same seed; about 1 GiB/s. */
export function seededBytes(seed: string, sizeBytes: number): Buffer {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(sizeBytes));
}

export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

/** Makes an image whose layers are real tar archives, so that runtimes can unpack it. */
export function buildImage(options: ImageOptions = {}): Image {
  const { seed = 'windlass', format = 'oci', layerBytes = [], layerFiles = [], gzip = true } = options;
  const types = format === 'oci' ? OCI_TYPES : DOCKER_TYPES;
  const contents = [
    ...layerFiles,
    ...layerBytes.map((sizeBytes, i) => [{ path: `data/${i}.bin`, bytes: seededBytes(`${seed}:${i}`, sizeBytes) }]),
  ];
  const archives = contents.map((files) => tar(files));
  const layers = archives.map((bytes) =>
    gzip ? blob(types.gzip, gzipSync(bytes, { level: 1 })) : blob(types.tar, bytes),
  );
  const config = blob(
    types.config,
    json({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: ['PATH=/bin'], Cmd: options.command ?? ['/bin/true'], Labels: { seed } },
      rootfs: { type: 'layers', diff_ids: archives.map(digestOf) },
      history: archives.map(() => ({ created_by: 'test' })),
    }),
  );
  const manifest = blob(
    types.manifest,
    json({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: descriptor(config),
      layers: layers.map(descriptor),
      ...(options.subject === undefined
        ? {}
        : { artifactType: 'application/vnd.windlass.test', subject: descriptor(options.subject) }),
    }),
  );
  const platform = { architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux' };
  const index =
    options.index === true
      ? blob(
          types.index,
          json({
            schemaVersion: 2,
            mediaType: types.index,
            manifests: [{ ...descriptor(manifest), platform }],
          }),
        )
      : undefined;
  const blobs = [config, ...layers];
  const all = index === undefined ? [...blobs, manifest] : [...blobs, manifest, index];
  return {
    config,
    layers,
    manifest,
    index,
    top: index ?? manifest,
    blobs,
    totalBytes: all.reduce((sum, { bytes }) => sum + bytes.length, 0),
  };
}

/** An image that runs: a static busybox as /bin/busybox, in its first layer. Another seed gives other blobs throughout. */
export async function buildBusyboxImage(busyboxPath: string, options: ImageOptions = {}): Promise<Image> {
  const busybox = { path: 'bin/busybox', bytes: await readFile(busyboxPath), mode: 0o755 };
  const seed = { path: 'etc/seed', bytes: Buffer.from(options.seed ?? '') };
  const layerFiles = [[busybox, seed], ...(options.layerFiles ?? [])];
  return buildImage({ command: ['/bin/busybox', 'true'], ...options, layerFiles });
}

function blob(mediaType: string, bytes: Buffer): ImageBlob {
  return { digest: digestOf(bytes), mediaType, bytes };
}

function descriptor({ digest, mediaType, bytes }: ImageBlob): object {
  return { mediaType, digest, size: bytes.length };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
