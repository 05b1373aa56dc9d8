import { readFileSync } from 'node:fs';
import { systemCode, WindlassError } from '../errors.ts';
import type { ApiAccess } from './api-access.ts';

/** Which namespace a Pod is in, as the kubelet writes it. */
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';
/** By which every Pod finds the API server. */
const VARIABLES = ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'];

/**
 * @param lead what needs it, as in `discovery.kind = "kubernetes"`
 * @param mend what to do outside of a Pod
 * @throws INVALID_SETTINGS where this process is in no Pod
 */
export function requirePod(lead: string, mend: string): void {
  for (const variable of VARIABLES) {
    if (process.env[variable]) continue;
    const message = `${lead}: there is no variable ${variable}, which every Pod has; ${mend}`;
    throw new WindlassError('INVALID_SETTINGS', message);
  }
}

/**
 * @param podRoot what stands for `/`
 * @throws INVALID_SETTINGS with `lead` and `mend`, as above
 */
export function podNamespace(podRoot: string, lead: string, mend: string): string {
  const path = `${podRoot}${NAMESPACE_FILE}`;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    const message = `${lead}: the Pod's namespace is not known (${path}: ${systemCode(cause)}); ${mend}`;
    throw new WindlassError('INVALID_SETTINGS', message, { cause });
  }
}

/** Loads the client of Kubernetes when it is called, and not before: most agents and commands do without. */
export function accessOf(podRoot: string): () => Promise<ApiAccess> {
  return async () => new (await import('./api-access.ts')).ApiAccess(podRoot);
}
