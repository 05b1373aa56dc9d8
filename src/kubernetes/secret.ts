import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { hasCode } from '../errors.ts';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';

export interface SecretKey {
  readonly namespace: string;
  readonly name: string;
  /** Within the Secret's data. */
  readonly key: string;
}

const secretSchema = z.object({ data: z.record(z.string(), z.base64()).nullish() });

const [NOT_FOUND, CONFLICT] = [404, 409];

/** @returns undefined: there is no such Secret; `value` undefined: it has no such key */
export async function readSecret(
  api: Pick<KubeApi, 'json'>,
  at: SecretKey,
  signal: AbortSignal,
): Promise<{ readonly value: Buffer | undefined } | undefined> {
  let answer: unknown;
  try {
    answer = await api.json({ path: pathOf(at) }, signal);
  } catch (error) {
    if (hasCode(error, 'KUBERNETES_UNAVAILABLE') && error.upstreamStatus === NOT_FOUND) return undefined;
    throw error;
  }
  const { data: secret } = secretSchema.safeParse(answer);
  if (secret === undefined) throw apiNonsense('what is no Secret');
  const { [at.key]: value } = secret.data ?? {};
  return { value: value === undefined ? undefined : Buffer.from(value, 'base64') };
}

/**
 * Makes a Secret with one key, and changes none that has it.
 *
 * It is applied, not posted: RBAC cannot narrow the POST of a new object to a name, but it can narrow an apply, which
 * has the name in its path (verbs `create` and `patch`, `resourceNames`). The field manager is one that nobody else
 * has, so that whatever already has a value there is a conflict.
 *
 * @returns false: there is one by now
 */
export async function createSecret(
  api: Pick<KubeApi, 'json'>,
  at: SecretKey,
  value: string,
  signal: AbortSignal,
): Promise<boolean> {
  const body = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: at.name, labels: { 'app.kubernetes.io/managed-by': 'windlass' } },
    data: { [at.key]: Buffer.from(value).toString('base64') },
  };
  const fieldManager = `windlass-make-secret-${randomBytes(8).toString('hex')}`;
  try {
    const type = 'application/apply-patch+yaml';
    await api.json({ method: 'PATCH', path: pathOf(at), query: { fieldManager }, body: { type, value: body } }, signal);
    return true;
  } catch (error) {
    if (hasCode(error, 'KUBERNETES_UNAVAILABLE') && error.upstreamStatus === CONFLICT) return false;
    throw error;
  }
}

function pathOf({ namespace, name }: SecretKey): string {
  return `/api/v1/namespaces/${namespace}/secrets/${name}`;
}
