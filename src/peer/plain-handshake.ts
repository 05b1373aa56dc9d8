import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { ClusterSecrets } from '../routing/cluster-secret.ts';
import type { PeerId } from '../routing/member.ts';

/*
 * Without TLS (networks that are encrypted below), each connection begins with a challenge, and each request carries a
 * MAC: a stranger on the network can neither ask nor answer, nor send again what it has seen.
 *
 *   client                                                            server
 *   GET /windlass/v1/challenge  windlass-nonce: nC        ──────────▶
 *                                                         ◀──────────  204  windlass-nonce: nS
 *   GET /windlass/v1/proof      windlass-peer: C
 *     windlass-proof: MAC(each secret; C → anybody, nonces)
 *     windlass-signature: Ed25519 of C over nonces        ──────────▶  else 401, and the end
 *                                                         ◀──────────  204  windlass-peer: S
 *                                                                           windlass-proof: MAC(that secret; S → C, nonces)
 *                                                                           windlass-signature: of S over nonces, C
 *   each request  windlass-mac: HMAC(k; counter, method, path, sha256(body))
 *   each answer   windlass-mac: HMAC(k; counter, status, sha256(body) or "stream")
 *
 *   k = MAC(that secret; C → S, "key", nonces), which never travels: whoever passes a handshake on for others cannot
 *   ask in their name.
 */
export const CHALLENGE_PATH = '/windlass/v1/challenge';
export const PROOF_PATH = '/windlass/v1/proof';
export const NONCE_HEADER = 'windlass-nonce';
export const PEER_HEADER = 'windlass-peer';
export const SIGNATURE_HEADER = 'windlass-signature';
export const MAC_HEADER = 'windlass-mac';
export const NONCE_BYTES = 32;
export const PURPOSE = 'windlass/data/1';
/** The client does not know yet, or does not tell yet, whom it talks to. */
export const ANYBODY = 'anybody';

/** What proofs and signatures of one connection are about. */
export function transcript(role: 'client' | 'server' | 'key', nonces: Uint8Array, about = ''): Buffer {
  return Buffer.concat([Buffer.from(`windlass-plain/1\0${role}\0${about}\0`), nonces]);
}

/** The connection's key, by the secret that both ends know. */
export async function sessionKey(
  secrets: ClusterSecrets,
  secret: number,
  client: PeerId,
  server: PeerId,
  nonces: Uint8Array,
): Promise<Uint8Array | undefined> {
  return (await secrets.proofs(PURPOSE, client, server, transcript('key', nonces)))[secret];
}

export function requestMac(key: Uint8Array, counter: number, method: string, path: string, body: Uint8Array): string {
  return mac(key, `request\0${counter}\0${method}\0${path}\0${sha256(body)}`);
}

/** @param body undefined: of a stream. */
export function answerMac(key: Uint8Array, counter: number, status: number, body: Uint8Array | undefined): string {
  return mac(key, `answer\0${counter}\0${status}\0${body === undefined ? 'stream' : sha256(body)}`);
}

export function equalTexts(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

export function readBytes(text: string | string[] | undefined, length: number): Buffer | undefined {
  if (typeof text !== 'string' || text.length > 128) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length === length ? bytes : undefined;
}

function mac(key: Uint8Array, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function sha256(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('base64url');
}
