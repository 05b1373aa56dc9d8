import type { Image, ImageBlob } from './image.ts';

export interface PushOptions {
  readonly user?: string;
  readonly password?: string;
}

/** Puts an image into a registry under each of the tags. */
export async function pushImage(
  registryUrl: string,
  repository: string,
  tags: string | readonly string[],
  image: Image,
  options: PushOptions = {},
): Promise<void> {
  for (const blob of image.blobs) await pushBlob(registryUrl, repository, blob, options);
  await pushManifest(registryUrl, repository, image.manifest.digest, image.manifest, options);
  for (const tag of typeof tags === 'string' ? [tags] : tags) {
    await pushManifest(registryUrl, repository, tag, image.top, options);
  }
}

export async function pushBlob(
  registryUrl: string,
  repository: string,
  blob: Pick<ImageBlob, 'digest' | 'bytes'>,
  options: PushOptions = {},
): Promise<void> {
  const begun = await fetch(`${registryUrl}/v2/${repository}/blobs/uploads/`, {
    method: 'POST',
    headers: auth(options),
  });
  await expectStatus(begun, 202);
  const location = new URL(begun.headers.get('location') ?? '', registryUrl);
  location.searchParams.set('digest', blob.digest);
  const done = await fetch(location, {
    method: 'PUT',
    headers: { ...auth(options), 'content-type': 'application/octet-stream' },
    body: new Uint8Array(blob.bytes.buffer, blob.bytes.byteOffset, blob.bytes.length) as Uint8Array<ArrayBuffer>,
  });
  await expectStatus(done, 201);
}

async function pushManifest(
  registryUrl: string,
  repository: string,
  reference: string,
  manifest: Pick<ImageBlob, 'bytes' | 'mediaType'>,
  options: PushOptions = {},
): Promise<void> {
  const done = await fetch(`${registryUrl}/v2/${repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { ...auth(options), 'content-type': manifest.mediaType },
    body: manifest.bytes.toString('utf8'),
  });
  await expectStatus(done, 201);
}

function auth({ user, password }: PushOptions): Record<string, string> {
  if (user === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}` };
}

async function expectStatus(response: Response, status: number): Promise<void> {
  const text = await response.text();
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} instead of ${status}: ${text}`);
}
