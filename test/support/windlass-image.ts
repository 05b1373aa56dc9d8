import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';
import { NPM_CACHE, npmFolder, npmSetting, stageBase, stageNodeBase } from './image-bases.ts';
import { commandsMissing, type Missing, rootMissing } from './requires.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What the Dockerfile takes, and who builds it. */
const SOURCES = [
  'Dockerfile',
  'package.json',
  'package-lock.json',
  '.npmrc',
  'LICENSE',
  '.ci/build',
  'src',
  'test/support/image-bases.ts',
  'test/support/windlass-image.ts',
];
const KEPT = 4;
const MACHINE = process.arch === 'x64' ? 'amd64' : process.arch;

export interface WindlassImage {
  /** An OCI archive: for `ctr images import`, `skopeo copy oci-archive:…`. */
  readonly archive: string;
  /** The name under which it is imported. */
  readonly reference: string;
}

const REFERENCE = 'localhost/windlass:test';

/** Why the image cannot be built here, or undefined. */
export async function windlassImageMissing(): Promise<Missing> {
  const missing = rootMissing() ?? commandsMissing('buildah', 'busybox', 'npm', 'dpkg');
  if (missing !== undefined) return missing;
  return existsSync(join(await npmFolder(), 'node_modules')) ? undefined : "npm is Debian's, which cannot be moved";
}

/** The image of this work tree, by its Dockerfile: from the cache, or built, which takes a minute and npm's registry. */
export async function buildWindlassImage(): Promise<WindlassImage> {
  const archive = join(cacheFolder(), `image-${await sourceHash()}.tar`);
  if (!existsSync(archive)) {
    await mkdir(cacheFolder(), { recursive: true });
    const folder = await mkdtemp(join(tmpdir(), 'windlass-image-'));
    const built = `${archive}.${process.pid}`;
    try {
      await build(folder, built);
      await rename(built, archive);
      await forgetOthers();
    } finally {
      await rm(built, { force: true });
      await rm(folder, { recursive: true, force: true });
    }
  }
  return { archive, reference: REFERENCE };
}

async function build(folder: string, archive: string): Promise<void> {
  // vfs needs no mounts, and leaves none behind.
  const storage = ['--root', join(folder, 's'), '--runroot', join(folder, 'r'), '--storage-driver', 'vfs'];
  const buildah = (command: string, ...args: string[]) =>
    run('buildah', [...storage, command, ...args], { cwd: ROOT, env: { TMPDIR: folder }, timeoutMs: 900_000 });

  await stageNodeBase(join(folder, 'node'));
  await stageBase(join(folder, 'base'));
  for (const name of ['node', 'base']) {
    const file = join(folder, `${name}.Dockerfile`);
    await writeFile(file, 'FROM scratch\nENV PATH=/usr/local/bin:/usr/bin:/bin\nCOPY . /\n');
    await buildah('bud', '--tag', `localhost/${name}`, '--file', file, join(folder, name));
  }
  const cache = (await npmSetting('cache')) ?? '';
  await buildah(
    'bud',
    ...['--isolation', 'chroot', '--tag', REFERENCE],
    ...['NODE=localhost/node', 'BASE=localhost/base', `TARGETARCH=${MACHINE}`].flatMap((arg) => ['--build-arg', arg]),
    ...(existsSync(cache) ? ['--volume', `${cache}:${NPM_CACHE}`] : []),
    '.',
  );
  await buildah('push', REFERENCE, `oci-archive:${archive}:${REFERENCE}`);
}

async function sourceHash(): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  for (const source of SOURCES) {
    const path = join(ROOT, source);
    const files = (await stat(path)).isDirectory() ? await filesBelow(path) : [path];
    for (const file of files)
      hash
        .update(file.slice(ROOT.length))
        .update('\0')
        .update(await readFile(file))
        .update('\0');
  }
  return hash.digest('hex').slice(0, 16);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Each is 50 MB. */
async function forgetOthers(): Promise<void> {
  const names = (await readdir(cacheFolder())).filter((name) => /^image-[0-9a-f]+\.tar$/.test(name));
  const dated = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(join(cacheFolder(), name))).mtimeMs })),
  );
  dated.sort((a, b) => b.time - a.time);
  for (const { name } of dated.slice(KEPT)) await rm(join(cacheFolder(), name), { force: true });
}
