import { readFile, rm } from 'node:fs/promises';
import { run } from './commands.ts';
import { digestOf } from './image.ts';
import type { Scratch } from './scratch.ts';

/** What skopeo fetched, as it lies in a `dir:` on disk: file name (hex of a digest, or manifest.json) → sha256. */
export interface SkopeoCopy {
  readonly manifestDigest: string;
  /** Hex digests that the blobs' files are named by. */
  readonly blobs: readonly string[];
}

/** Copies an image to disk through containers/image, the library of podman and CRI-O, and checks every blob. */
export async function skopeoCopy(
  scratch: Scratch,
  source: string,
  options: { readonly registriesConf?: string } = {},
): Promise<SkopeoCopy> {
  const folder = scratch.join(`skopeo-${Math.random().toString(36).slice(2)}`);
  const { registriesConf } = options;
  const confArgs = registriesConf === undefined ? [] : ['--registries-conf', registriesConf];
  const copyArgs = ['copy', '--quiet', '--insecure-policy', '--src-tls-verify=false', source, `dir:${folder}`];
  await run('skopeo', [...confArgs, ...copyArgs]);
  try {
    const manifest = await readFile(`${folder}/manifest.json`);
    const { config, layers } = JSON.parse(manifest.toString('utf8'));
    const blobs: string[] = [];
    for (const { digest } of [config, ...layers]) {
      const hex = String(digest).replace('sha256:', '');
      const held = digestOf(await readFile(`${folder}/${hex}`));
      if (held !== digest) throw new Error(`skopeo holds ${held} for ${digest}`);
      blobs.push(hex);
    }
    return { manifestDigest: digestOf(manifest), blobs };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** podman's and CRI-O's registries.conf: images of `registry` are asked of the mirror first. */
export function registriesConf(registry: string, mirrorLocation: string): string {
  return `[[registry]]
prefix = "${registry}"
location = "${registry}"
insecure = true
[[registry.mirror]]
location = "${mirrorLocation}"
insecure = true
`;
}
