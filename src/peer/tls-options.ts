import type { SecureContextOptions } from 'node:tls';
import { createCertificate } from '../routing/certificate.ts';
import type { Identity } from '../routing/identity.ts';

/** Of both ends. Trust comes from the peer id, which is the certificate's key, and from the proof of a secret. */
export function tlsOptions(identity: Identity): SecureContextOptions & { readonly rejectUnauthorized: false } {
  return {
    ...createCertificate(identity),
    minVersion: 'TLSv1.3',
    // In TLS 1.3 the client's order decides: the cheapest one where the processor has AES.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    rejectUnauthorized: false,
  };
}
