import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';

/** The major versions that people have. */
export type HelmMajor = 3 | 4;
export const HELM_MAJORS = [3, 4] as const;

const VERSIONS = { 3: '3.22.0', 4: '4.3.1' } as const;
/** What Helm 3's `helm template` renders for: its releases have it built in. Helm 4 reads it off its modules. */
const CAPABILITIES_3 = ['Major=1', 'Minor=36'].map((of) => `-X helm.sh/helm/v3/pkg/chartutil.k8sVersion${of}`);

function binaryOf(major: HelmMajor): string {
  return join(cacheFolder(), `helm-${VERSIONS[major]}-${process.arch}`);
}

/** As built by `buildHelm`, or a reason why there is none. */
export function builtHelm(major: HelmMajor = 3): { readonly path: string } | string {
  const path = binaryOf(major);
  return existsSync(path) ? { path } : `helm ${VERSIONS[major]} is not built (it takes Go 1.26)`;
}

/** Builds it into the cache if it is not there: a minute or two of two processors. Rejects where Go cannot. */
export async function buildHelm(major: HelmMajor = 3): Promise<void> {
  if (typeof builtHelm(major) !== 'string') return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${binaryOf(major)}.`);
  try {
    const flags = ['-s', '-w', ...(major === 3 ? CAPABILITIES_3 : [])].join(' ');
    const module = `helm.sh/helm/v${major}/cmd/helm@v${VERSIONS[major]}`;
    await run('nice', ['-n', '19', 'go', 'install', '-trimpath', `-ldflags=${flags}`, module], {
      env: { GOBIN: folder, GOFLAGS: '', CGO_ENABLED: '0' },
      cwd: folder,
      timeoutMs: 1_200_000,
    });
    // Whole or not at all, whoever is faster.
    await rename(join(folder, 'helm'), binaryOf(major));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
