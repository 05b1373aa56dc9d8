import { createHmac } from 'node:crypto';

/** Keyed, so that nobody who sees a claim can try passwords on it. The same at all agents with the same secret. */
export function keyedFingerprint(key: Uint8Array, fingerprint: string): string {
  return createHmac('sha256', key).update(fingerprint).digest('base64url').slice(0, 22);
}
