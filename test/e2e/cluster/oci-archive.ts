import { digestOf, type Image } from '../../support/image.ts';
import { tar } from '../../support/tar.ts';

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
