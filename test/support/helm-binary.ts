import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';

const VERSION = '3.22.0';
const BINARY = join(cacheFolder(), `helm-${VERSION}-${process.arch}`);
/** What `helm template` renders for; its releases have it built in. */
const KUBERNETES = ['1', '36'];
const CAPABILITIES = 'helm.sh/helm/v3/pkg/chartutil.k8sVersion';

/** As built by `buildHelm`, or a reason why there is none. */
export function builtHelm(): { readonly path: string } | string {
  return existsSync(BINARY) ? { path: BINARY } : `helm ${VERSION} is not built (it takes Go 1.26)`;
}

/** Builds it into the cache if it is not there: a minute or two of a processor. Rejects where Go cannot. */
export async function buildHelm(): Promise<void> {
  if (typeof builtHelm() !== 'string') return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${BINARY}.`);
  try {
    const [major, minor] = KUBERNETES;
    const flags = `-s -w -X ${CAPABILITIES}Major=${major} -X ${CAPABILITIES}Minor=${minor}`;
    await run(
      'nice',
      ['-n', '19', 'go', 'install', '-trimpath', `-ldflags=${flags}`, `helm.sh/helm/v3/cmd/helm@v${VERSION}`],
      {
        env: { GOBIN: folder, GOFLAGS: '', CGO_ENABLED: '0' },
        cwd: folder,
        timeoutMs: 1_200_000,
      },
    );
    // Whole or not at all, whoever is faster.
    await rename(join(folder, 'helm'), BINARY);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
