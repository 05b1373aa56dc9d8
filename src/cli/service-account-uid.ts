import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { WindlassError } from '../errors.ts';

const claims = z.object({
  'kubernetes.io': z.object({ serviceaccount: z.object({ uid: z.string().min(1) }) }),
});

/**
 * Of the service account that a token is of, as the kubelet mounts it into every Pod: another one for each installation,
 * and the same for all of its Pods, with no call of the API. The token proves nothing here, so its seal is not looked at.
 * @throws INVALID_SETTINGS
 */
export async function serviceAccountUid(tokenFile: string): Promise<string> {
  try {
    const payload = (await readFile(tokenFile, 'utf8')).split('.')[1] ?? '';
    const token = claims.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
    return token['kubernetes.io'].serviceaccount.uid;
  } catch (cause) {
    throw new WindlassError(
      'INVALID_SETTINGS',
      `${tokenFile} is no token of a Kubernetes service account that can be read; give the name itself (--install-id, --tombstone)`,
      { cause },
    );
  }
}
