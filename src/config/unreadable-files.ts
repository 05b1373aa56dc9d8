import { access, constants } from 'node:fs/promises';
import { resolve } from 'node:path';
import { systemCode } from '../errors.ts';
import type { RegistrySettings } from './registry-settings.ts';
import type { Settings } from './settings.ts';

/**
 * A sentence for each file of CAs, keys or credentials that cannot be read. That is no fault of the settings: a secret
 * may be mounted later, and files are looked at again; but whoever mistyped a path should not learn it from a pull.
 */
export async function unreadableFiles(settings: Settings, cwd: string): Promise<string[]> {
  const named = [
    ...settings.upstream.ca.map((file) => ({ key: 'upstream.ca', file })),
    ...settings.registries.flatMap(filesOf),
    ...settings.cluster.secretFile.map((file) => ({ key: 'cluster.secretFile', file })),
  ];
  const sentences = await Promise.all(
    named.map(async ({ key, file }) => {
      const reason = await whyUnreadable(resolve(cwd, file));
      return reason === undefined ? [] : [`${key}: ${file} cannot be read (${reason}); it is tried again when needed`];
    }),
  );
  return sentences.flat();
}

function filesOf({ host, ca, clientCert, clientKey, credentials }: RegistrySettings): { key: string; file: string }[] {
  const secret = credentials !== undefined && 'dockerConfig' in credentials ? credentials.dockerConfig : undefined;
  const password = credentials !== undefined && 'passwordFile' in credentials ? credentials.passwordFile : undefined;
  const files = { ca, clientCert, clientKey, dockerConfig: secret, passwordFile: password };
  return Object.entries(files).flatMap(([field, file]) =>
    file === undefined ? [] : [{ key: `registries: ${field} of ${host}`, file }],
  );
}

async function whyUnreadable(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.R_OK);
    return undefined;
  } catch (error) {
    const reason = systemCode(error);
    if (reason === undefined) throw error;
    return reason;
  }
}
