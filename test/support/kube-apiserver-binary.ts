import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';

export const KUBERNETES_VERSION = '1.36.3';
const BINARY = join(cacheFolder(), `kube-apiserver-${KUBERNETES_VERSION}-${process.arch}`);
const ENV = { GOFLAGS: '-mod=mod -trimpath -buildvcs=false -p=2', CGO_ENABLED: '0' };

/** As built by `buildKubeApiserver`, or a reason why there is none. */
export function builtKubeApiserver(): { readonly path: string } | string {
  return existsSync(BINARY) ? { path: BINARY } : `kube-apiserver ${KUBERNETES_VERSION} is not built (it takes Go 1.26)`;
}

/** Builds it into the cache if it is not there: three to five minutes of a processor. Rejects where Go cannot. */
export async function buildKubeApiserver(): Promise<void> {
  if (typeof builtKubeApiserver() !== 'string') return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${BINARY}.`);
  try {
    await writeFile(join(folder, 'go.mod'), await goModOfKubernetes(folder));
    const version = `-X k8s.io/component-base/version.gitVersion=v${KUBERNETES_VERSION}`;
    const args = [
      'build',
      '-ldflags',
      `-s -w ${version}`,
      '-o',
      'kube-apiserver',
      'k8s.io/kubernetes/cmd/kube-apiserver',
    ];
    // Others may measure on this machine.
    await run('nice', ['-n', '19', 'go', ...args], { env: ENV, cwd: folder, timeoutMs: 1_800_000 });
    // Whole or not at all, whoever is faster.
    await copyFile(join(folder, 'kube-apiserver'), join(folder, 'whole'));
    await rename(join(folder, 'whole'), BINARY);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * `k8s.io/kubernetes` cannot be required plainly: it requires its own parts at v0.0.0, and replaces them by folders of
 * its work tree. They are replaced by the modules of the same release instead.
 */
export async function goModOfKubernetes(folder: string): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', `k8s.io/kubernetes@v${KUBERNETES_VERSION}`], {
    env: { GOFLAGS: '' },
    cwd: folder,
    timeoutMs: 600_000,
  });
  const { GoMod } = JSON.parse(stdout);
  const lines = (await readFile(String(GoMod), 'utf8')).split('\n');
  const parts = lines.flatMap((line) => /^\s+(k8s\.io\/\S+) v0\.0\.0(?:\s|$)/.exec(line)?.[1] ?? []);
  return [
    'module windlass.test/kubernetes',
    ...lines.filter((line) => /^(?:go|godebug) /.test(line)),
    `require k8s.io/kubernetes v${KUBERNETES_VERSION}`,
    ...parts.map((part) => `replace ${part} => ${part} v0.${KUBERNETES_VERSION.replace(/^1\./, '')}`),
    '',
  ].join('\n');
}
