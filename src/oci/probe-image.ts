import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from './digest.ts';
import { MEDIA_TYPES } from './manifest.ts';
import type { RepositoryName } from './reference.ts';

/**
 * The repository that every mirror answers for itself, under each registry that it mirrors, whatever the tag: an image
 * of one empty layer. Who gets it by its name has asked a mirror of ours, and no registry was needed for that. Nobody
 * else's image has such a name: Docker Hub's have no dot there.
 */
export const PROBE_REPOSITORY = 'windlass.doctor/probe';

/** Of an answer by tag, `yes` or `no`: was that tag asked for before, under this registry? */
export const PROBE_ASKED_HEADER = 'windlass-asked-before';

export interface ProbePart {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface ProbeImage {
  readonly manifest: ProbePart;
  readonly blobs: readonly ProbePart[];
}

const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** The end of a tar archive with nothing before it; not compressed, so that all versions make the same bytes. */
const EMPTY_TAR = Buffer.alloc(1024);

export function isProbe({ repository }: RepositoryName): boolean {
  return repository === PROBE_REPOSITORY;
}

/** The same bytes in every process on machines of one kind. */
export function probeImage(architecture: NodeJS.Architecture = process.arch): ProbeImage {
  const layer = part(LAYER, EMPTY_TAR);
  const config = jsonPart(CONFIG, {
    architecture: architecture === 'x64' ? 'amd64' : architecture,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const manifest = jsonPart(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptor(config),
    layers: [descriptor(layer)],
  });
  return { manifest, blobs: [config, layer] };
}

function jsonPart(mediaType: string, content: object): ProbePart {
  return part(mediaType, Buffer.from(JSON.stringify(content)));
}

function part(mediaType: string, bytes: Buffer): ProbePart {
  return { digest: parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`), mediaType, bytes };
}

function descriptor({ digest, mediaType, bytes }: ProbePart) {
  return { mediaType, digest, size: bytes.length };
}
