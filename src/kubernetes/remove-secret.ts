import { z } from 'zod';
import { hasCode } from '../errors.ts';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';
import type { SecretKey } from './secret.ts';

const secretSchema = z.object({
  metadata: z.object({ uid: z.string(), labels: z.record(z.string(), z.string()).nullish() }),
});

const [NOT_FOUND, CONFLICT] = [404, 409];

/**
 * Removes a Secret that `createSecret` made, and no other: not one that somebody else made, nor one that takes its place
 * meanwhile. `changed`: that has happened.
 */
export async function removeSecret(
  api: Pick<KubeApi, 'json'>,
  { namespace, name }: Omit<SecretKey, 'key'>,
  signal: AbortSignal,
): Promise<'removed' | 'absent' | 'foreign' | 'changed'> {
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
  const answer = await unlessStatus(api.json({ path }, signal));
  if (answer === NOT_FOUND) return 'absent';
  const { data: secret } = secretSchema.safeParse(answer);
  if (secret === undefined) throw apiNonsense('what is no Secret');
  const { uid, labels } = secret.metadata;
  if (labels?.['app.kubernetes.io/managed-by'] !== 'windlass') return 'foreign';
  const body = { type: 'application/json', value: { preconditions: { uid } } };
  const removed = await unlessStatus(api.json({ method: 'DELETE', path, body }, signal));
  if (removed === CONFLICT) return 'changed';
  return removed === NOT_FOUND ? 'absent' : 'removed';
}

/** The answer, or 404 or 409 where that is it. */
async function unlessStatus(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (!hasCode(error, 'KUBERNETES_UNAVAILABLE')) throw error;
    const status = [NOT_FOUND, CONFLICT].find((one) => one === error.upstreamStatus);
    if (status === undefined) throw error;
    return status;
  }
}
