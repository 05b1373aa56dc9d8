import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import type { Scratch } from '../scratch.ts';

export interface SelfSigned {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly certPath: string;
  readonly keyPath: string;
}

/** A certificate for this name, or this address, that is its own CA, by openssl. */
export async function selfSigned(scratch: Scratch, name: string): Promise<SelfSigned> {
  const certPath = scratch.join(`${name}.crt`);
  const keyPath = scratch.join(`${name}.key`);
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyPath];
  await promisify(execFile)('openssl', ['req', '-x509', '-days', '2', ...key, '-out', certPath, ...subject]);
  return { cert: await readFile(certPath), key: await readFile(keyPath), certPath, keyPath };
}
