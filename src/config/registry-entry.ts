import { z } from 'zod';
import type { RegistryCredentials, RegistrySettings } from './registry-settings.ts';
import { documented } from './setting-docs.ts';
import { forms, httpUrl, path, registryHost, text } from './setting-types.ts';

const credentials = z.strictObject(
  {
    dockerConfig: documented(path().optional(), 'A docker config.json that holds the credentials of this host.'),
    username: documented(text().optional(), 'A user name, with `passwordFile`.'),
    passwordFile: documented(path().optional(), 'A file that holds the password or token.'),
  },
  { error: 'write an object: { dockerConfig } or { username, passwordFile }' },
);

export const registryFields = z.strictObject(
  {
    host: documented(
      registryHost({ wildcards: true }),
      'What clients ask for; `*.example.com` is any host below it, `*` any host at all.',
    ),
    endpoint: documented(
      httpUrl().optional(),
      'Where it is asked: http:// or https:// with host, port and path. Default: the right one for the host, by https.',
    ),
    ca: documented(path().optional(), 'CA certificates (PEM) that this registry is checked against as well.'),
    clientCert: documented(path().optional(), 'A client certificate (PEM), with `clientKey`.'),
    clientKey: documented(path().optional(), 'Its private key (PEM).'),
    credentials: documented(
      credentials.optional(),
      '`{ dockerConfig }` or `{ username, passwordFile }`. **Opens what they open to everyone who can reach the mirror.**',
    ),
  },
  { error: 'write a host, or an object with host, endpoint, ca, clientCert, clientKey, credentials' },
);

/** One entry of `registries`; a plain string is its host. Which fields go together is looked at in contradictions.ts. */
export const registryEntry = z
  .preprocess((raw) => (typeof raw === 'string' ? { host: raw } : raw), registryFields)
  .transform((entry): RegistrySettings => {
    const { credentials: given, ...rest } = entry;
    return { ...rest, ...(given === undefined ? {} : { credentials: oneKind(given) }) };
  })
  .register(forms, { name: 'host or object', decode: 'text' });

function oneKind(given: z.output<typeof credentials>): RegistryCredentials | undefined {
  if (given.dockerConfig !== undefined) return { dockerConfig: given.dockerConfig };
  const { username, passwordFile } = given;
  return username === undefined || passwordFile === undefined ? undefined : { username, passwordFile };
}
