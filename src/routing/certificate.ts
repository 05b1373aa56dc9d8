import { randomBytes, sign, X509Certificate } from 'node:crypto';
import type { Identity } from './identity.ts';
import { peerIdOfKey } from './identity-peer-id.ts';
import type { PeerId } from './member.ts';

/** For node:tls (`cert` and `key`), PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/*
 * An X.509 certificate is thirty lines of DER where everything but the key is fixed:
 *
 *   Certificate ─┬─ to be signed ─┬─ version 3, serial
 *                │                ├─ issuer = subject = CN=<peer id>
 *                │                ├─ valid from 1970 to 9999: trust comes from the cluster secret, and no clock is asked
 *                │                └─ Ed25519 public key: the peer id's own
 *                ├─ Ed25519
 *                └─ signature
 */
const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_ID = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const VERSION_TAG = 0xa0;

const ED25519 = der(SEQUENCE, der(OBJECT_ID, Buffer.from('2b6570', 'hex')));
const COMMON_NAME = der(OBJECT_ID, Buffer.from('550403', 'hex'));
const VERSION_3 = der(VERSION_TAG, der(INTEGER, Buffer.from([2])));
const ALWAYS = der(
  SEQUENCE,
  der(UTC_TIME, Buffer.from('700101000000Z')),
  der(GENERALIZED_TIME, Buffer.from('99991231235959Z')),
);

/** A self-signed certificate of the identity's own key, so that who proves the certificate proves the peer id. */
export function createCertificate({ peerId, keyPair }: Pick<Identity, 'peerId' | 'keyPair'>): Certificate {
  const serial = randomBytes(16);
  // Positive, and without leading zeros.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(peerId)))));
  const key = keyPair.publicKey.export({ type: 'spki', format: 'der' });
  const toSign = der(SEQUENCE, VERSION_3, der(INTEGER, serial), ED25519, name, ALWAYS, name, key);
  const signature = sign(null, toSign, keyPair.privateKey);
  const certificate = der(SEQUENCE, toSign, ED25519, der(BIT_STRING, Buffer.from([0]), signature));
  return {
    cert: new X509Certificate(certificate).toString(),
    key: keyPair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * Whose certificate it is. Only what a TLS handshake proved the possession of says who the other side is; then the
 * self-signature has nothing to add and is not looked at.
 *
 * @param certificate DER (`getPeerCertificate().raw`), or parsed (`getPeerX509Certificate()`, which on a client's
 *   socket answers once only in Node 24: neither call answers after it).
 * @returns undefined if it is none, or not of an Ed25519 key. Never throws.
 */
export function peerIdOfCertificate(certificate: Uint8Array | X509Certificate | undefined): PeerId | undefined {
  if (certificate === undefined) return undefined;
  try {
    const { publicKey } = certificate instanceof X509Certificate ? certificate : new X509Certificate(certificate);
    return publicKey.asymmetricKeyType === 'ed25519' ? peerIdOfKey(publicKey) : undefined;
  } catch {
    return undefined;
  }
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const contents = Buffer.concat(parts);
  const { length } = contents;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), contents]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), contents]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), contents]);
}
