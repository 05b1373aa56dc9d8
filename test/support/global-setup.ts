import { fileURLToPath } from 'node:url';
import { run, which } from './commands.ts';
import { buildContainerd2, builtContainerd } from './containerd-binaries.ts';
import { buildHelm, builtHelm, HELM_MAJORS } from './helm-binary.ts';
import { buildKubeApiserver, builtKubeApiserver } from './kube-apiserver-binary.ts';
import { buildKubernetes, builtKubernetes } from './kubernetes-binaries.ts';
import { fetchPrometheusOperatorCrds } from './prometheus-operator-crds.ts';

const PACKAGES = fileURLToPath(new URL('../../.ci/packages', import.meta.url));

/**
 * Runs once before the integration tests: installs the Debian packages and builds the containerd, the Kubernetes and the
 * helm that they use, where that is possible. What then is still missing, each test finds out by itself, and is skipped by name.
 */
export async function setup(): Promise<void> {
  await run('sh', [PACKAGES], { timeoutMs: 600_000 }).then(
    ({ stderr }) => process.stderr.write(stderr),
    (error) => console.warn(`windlass: ${error instanceof Error ? error.message : error}`),
  );
  if (which('go') === undefined) return;
  if (typeof builtContainerd() === 'string') {
    console.warn('windlass: building containerd 2.3 with Go, once: about a minute');
    await buildContainerd2().catch((error) => console.warn(`windlass: ${error}`));
  }
  if (typeof builtKubeApiserver() === 'string' && which('etcd') !== undefined) {
    console.warn('windlass: building kube-apiserver with Go, once: three to five minutes');
    await buildKubeApiserver().catch((error) => console.warn(`windlass: ${error}`));
  }
  if (typeof builtKubernetes() === 'string' && which('etcd') !== undefined) {
    console.warn('windlass: building the rest of Kubernetes with Go, once: two to four minutes');
    await buildKubernetes().catch((error) => console.warn(`windlass: ${error}`));
  }
  for (const major of HELM_MAJORS) {
    if (typeof builtHelm(major) !== 'string') continue;
    console.warn(`windlass: building Helm ${major} with Go, once: a minute or two`);
    await buildHelm(major).catch((error) => console.warn(`windlass: ${error}`));
  }
  await fetchPrometheusOperatorCrds().catch((error) => console.warn(`windlass: ${error}`));
}
