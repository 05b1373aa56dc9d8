import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';

const MODULE = 'github.com/prometheus-operator/prometheus-operator';
const VERSION = '0.85.0';
const FOLDER = join(cacheFolder(), `prometheus-operator-crds-${VERSION}`);
const NAMES = ['podmonitors', 'prometheusrules', 'servicemonitors'];

/** The CRDs of what the chart can make, as YAML, or a reason why there are none. */
export function prometheusOperatorCrds(): (() => Promise<string[]>) | string {
  if (!existsSync(FOLDER)) return `prometheus-operator's CRDs ${VERSION} are not there (it takes Go)`;
  return () => Promise.all(NAMES.map((name) => readFile(join(FOLDER, `${name}.yaml`), 'utf8')));
}

/** Fetches its Go module, which carries them, into the cache if they are not there. */
export async function fetchPrometheusOperatorCrds(): Promise<void> {
  if (existsSync(FOLDER)) return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${FOLDER}.`);
  try {
    const { stdout } = await run('go', ['mod', 'download', '-json', `${MODULE}@v${VERSION}`], {
      env: { GOFLAGS: '' },
      cwd: folder,
      timeoutMs: 600_000,
    });
    const crds = join(String(JSON.parse(stdout).Dir), 'example/prometheus-operator-crd');
    for (const name of NAMES)
      await copyFile(join(crds, `monitoring.coreos.com_${name}.yaml`), join(folder, `${name}.yaml`));
    await rename(folder, FOLDER).catch((error) => {
      if (!existsSync(FOLDER)) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
