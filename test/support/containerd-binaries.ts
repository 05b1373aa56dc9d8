import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { run, which } from './commands.ts';

/** The newer of the two releases that the tests pull with; Debian's own is the other. */
const CONTAINERD_2 = '2.3.4';
const COMMANDS = ['containerd', 'ctr', 'containerd-shim-runc-v2'];

export interface ContainerdBinaries {
  /** 1 or 2. */
  readonly major: 1 | 2;
  readonly containerd: string;
  readonly ctr: string;
  /** Put first in PATH, so that each containerd finds its own shim. */
  readonly folder: string;
}

/** Where what takes long to build is kept between runs. No variable of ours: the agent refuses unknown WINDLASS_*. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'windlass');
}

const FOLDER_2 = join(cacheFolder(), `containerd-${CONTAINERD_2}-${process.arch}`);

/** Debian's containerd 1.6, or a reason why there is none. */
export function debianContainerd(): ContainerdBinaries | string {
  const containerd = which('containerd');
  const ctr = which('ctr');
  if (containerd === undefined || ctr === undefined) return 'containerd 1.6 (Debian) is not installed';
  const version = execFileSync(containerd, ['--version'], { encoding: 'utf8' });
  if (!/ v?1\.[67]\./.test(version)) return `the installed containerd is not Debian's 1.6: ${version.trim()}`;
  return { major: 1, containerd, ctr, folder: dirname(containerd) };
}

/** containerd 2.3 as built by `buildContainerd2`, or a reason why there is none. */
export function builtContainerd(): ContainerdBinaries | string {
  if (!COMMANDS.every((command) => existsSync(join(FOLDER_2, command)))) {
    return `containerd ${CONTAINERD_2} is not built (it takes Go 1.26)`;
  }
  return { major: 2, containerd: join(FOLDER_2, 'containerd'), ctr: join(FOLDER_2, 'ctr'), folder: FOLDER_2 };
}

/** Builds containerd 2.3 into the cache if it is not there: about a minute. Rejects where Go cannot. */
export async function buildContainerd2(): Promise<void> {
  if (typeof builtContainerd() !== 'string') return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${FOLDER_2}.`);
  try {
    const packages = COMMANDS.map((name) => `github.com/containerd/containerd/v2/cmd/${name}@v${CONTAINERD_2}`);
    await run('go', ['install', '-trimpath', '-ldflags=-s -w', ...packages], {
      env: { GOBIN: folder, GOFLAGS: '', CGO_ENABLED: '0' },
      cwd: folder,
      timeoutMs: 900_000,
    });
    // Whole or not at all; where another run was faster, its folder stays.
    await rename(folder, FOLDER_2).catch((error) => {
      if (typeof builtContainerd() === 'string') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
