import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCertificate, peerIdOfCertificate } from '../../../src/routing/certificate.ts';
import { type Identity, loadIdentity } from '../../../src/routing/identity.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
let one: Identity;
let other: Identity;
beforeAll(async () => {
  scratch = await Scratch.create();
  const logger = pino({ level: 'silent' });
  one = await loadIdentity({ storePath: scratch.join('one'), nodeName: 'one', logger });
  other = await loadIdentity({ storePath: scratch.join('other'), nodeName: 'other', logger });
});
afterAll(() => scratch.dispose());

test('the certificate is of the identity key, signed by itself, and names the peer', () => {
  const certificate = new X509Certificate(createCertificate(one).cert);
  expect(certificate.verify(one.keyPair.publicKey)).toBe(true);
  expect(certificate.verify(other.keyPair.publicKey)).toBe(false);
  expect(certificate.checkIssued(certificate)).toBe(true);
  expect(certificate.subject).toBe(`CN=${one.peerId}`);
  expect(new Date(certificate.validTo).getUTCFullYear()).toBe(9999);
  expect(peerIdOfCertificate(certificate)).toBe(one.peerId);
  expect(peerIdOfCertificate(certificate.raw)).toBe(one.peerId);
});

test('each certificate has a serial number of its own', () => {
  const serials = Array.from({ length: 50 }, () => new X509Certificate(createCertificate(one).cert).serialNumber);
  expect(new Set(serials).size).toBe(50);
});

test('both sides of a TLS 1.3 handshake learn the other peer id', async () => {
  const tls = { requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' } as const;
  const server = createServer({ ...tls, ...createCertificate(one) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    const client = connect({ ...tls, ...createCertificate(other), host: '127.0.0.1', port: address.port });
    const [[accepted]] = await Promise.all([once(server, 'secureConnection'), once(client, 'secureConnect')]);
    if (!(accepted instanceof TLSSocket)) throw new Error('no socket');
    expect(client.getProtocol()).toBe('TLSv1.3');
    expect(peerIdOfCertificate(client.getPeerX509Certificate())).toBe(one.peerId);
    expect(peerIdOfCertificate(accepted.getPeerX509Certificate())).toBe(other.peerId);
    client.destroy();
    accepted.destroy();
  } finally {
    server.close();
  }
});

/** Of an ECDSA key: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 36500`. */
const ECDSA = `-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUbZlgSGBGjRWyhuNQyLFdfoJv+2swCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjExMTIxMTZaGA8yMTI2MTAyODExMjExNlow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABL4v5t9EANbw
MtF/YbsxKuupbKAd8WIcNGXUDFdBMdJQuZSFsc85UEYnF5VeH1bBG/Md13nsS9d2
UKOMshN7VCWjUzBRMB0GA1UdDgQWBBQeAVaQDkOLrXCoJdaeWRYKtmvOGjAfBgNV
HSMEGDAWgBQeAVaQDkOLrXCoJdaeWRYKtmvOGjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQCnvZoOmRkzKrUrTYERb/E55T1jdoUksST/Av8EOrih
EwIgL7wCMmvCGx6uuzMePjWJPklEf5lj2Aok41FtseLVI48=
-----END CERTIFICATE-----`;

test('what is no certificate of an Ed25519 key has no peer id', () => {
  expect(peerIdOfCertificate(new X509Certificate(ECDSA))).toBeUndefined();
  expect(peerIdOfCertificate(undefined)).toBeUndefined();
  expect(peerIdOfCertificate(new Uint8Array())).toBeUndefined();
  expect(peerIdOfCertificate(Buffer.from('nonsense'))).toBeUndefined();
});
