import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { digestOf, type Image } from './image.ts';
import { tar } from './tar.ts';

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface ImageConfig {
  readonly architecture: string;
  readonly config: {
    readonly User?: string;
    readonly Entrypoint?: readonly string[];
    readonly Cmd?: readonly string[];
    readonly Labels?: Readonly<Record<string, string>>;
  };
}

/** An image in an OCI archive, taken apart. */
export interface UnpackedImage {
  readonly config: ImageConfig;
  /** As it travels: all layers, compressed. */
  readonly layerBytes: number;
  /** The folder with its files. */
  readonly root: string;
}

/** Takes an archive of one image apart, into a folder. */
export async function unpackOciArchive(archive: string, folder: string): Promise<UnpackedImage> {
  const root = join(folder, 'root');
  const layout = join(folder, 'layout');
  for (const made of [root, layout]) await mkdir(made, { recursive: true });
  await run('tar', ['-xf', archive, '-C', layout]);
  const blob = ({ digest }: Descriptor) => join(layout, 'blobs', digest.replace(':', '/'));
  const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
  const { config, layers } = JSON.parse(await readFile(blob(manifests[0]), 'utf8'));
  for (const layer of layers) await run('tar', ['-xzf', blob(layer), '-C', root]);
  return {
    config: JSON.parse(await readFile(blob(config), 'utf8')),
    layerBytes: layers.reduce((sum: number, { size }: Descriptor) => sum + size, 0),
    root,
  };
}

/** An image as `ctr images import` takes it. @param name `lab.local/pause:1` */
export function ociArchive(image: Image, name: string): Buffer {
  const { mediaType, digest, bytes } = image.top;
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.replace(/^.*:/, ''),
  };
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, digest, size: bytes.length, annotations }] }),
  );
  const blobs = new Map([...image.blobs, image.manifest, image.top].map((blob) => [digestOf(blob.bytes), blob.bytes]));
  return tar([
    { path: 'oci-layout', bytes: Buffer.from('{"imageLayoutVersion":"1.0.0"}') },
    { path: 'index.json', bytes: index },
    ...[...blobs].map(([digest, content]) => ({ path: `blobs/${digest.replace(':', '/')}`, bytes: content })),
  ]);
}
