import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { RegistryCredentials } from '../config/registry-settings.ts';
import { WatchedFile } from '../config/watched-file.ts';
import { type DockerConfig, findEntry, parseDockerConfig } from './docker-config.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** A refresh token (`docker login` against some registries): exchanged for access tokens by POST. */
  readonly identityToken: string | undefined;
  /** Tells these from others, and says nothing of them. */
  readonly fingerprint: string;
}

export interface CredentialSource {
  /** @returns undefined if there are none for this repository. @throws UPSTREAM_UNAVAILABLE, naming the file. */
  find(repository: string): Promise<Credentials | undefined>;
}

export interface CredentialSourceOptions {
  /** The names that an entry may have, the likeliest first. */
  readonly hosts: readonly string[];
  readonly settings: RegistryCredentials | undefined;
  readonly now: () => number;
  readonly logger: Logger;
}

export function credentialSource(options: CredentialSourceOptions): CredentialSource {
  const { settings, now, logger, hosts } = options;
  if (settings === undefined) return { find: async () => undefined };
  if ('username' in settings) {
    const { username, passwordFile: path } = settings;
    const parse = (contents: Buffer): Credentials => {
      const password = contents.toString('utf8').replace(/\r?\n$/, '');
      if (password === '') throw new Error('is empty');
      return withFingerprint(username, password, undefined);
    };
    const file = new WatchedFile({ path, what: 'password file', code: 'UPSTREAM_UNAVAILABLE', parse, now });
    return { find: () => file.read() };
  }
  const path = settings.dockerConfig;
  const file = new WatchedFile({
    path,
    what: 'docker config',
    code: 'UPSTREAM_UNAVAILABLE',
    parse: (contents) => {
      const config = parseDockerConfig(contents.toString('utf8'));
      warnOfGaps(config, hosts, path, logger);
      return config;
    },
    now,
  });
  return {
    async find(repository) {
      const entry = findEntry(await file.read(), hosts, repository);
      return entry && withFingerprint(entry.username, entry.password, entry.identityToken);
    },
  };
}

/** Once a version of the file. */
function warnOfGaps(config: DockerConfig, hosts: readonly string[], path: string, logger: Logger): void {
  const helper =
    hosts.map((host) => config.helpers.get(host)).find((name) => name !== undefined) ?? config.defaultHelper;
  if (helper !== undefined) {
    logger.warn({ path, helper }, 'credential helpers of a docker config are not run; only its "auths" are used');
  }
  if (!config.entries.some((entry) => hosts.includes(entry.host))) {
    logger.warn({ path, hosts }, 'docker config has no credentials for this registry: asked anonymously');
  }
}

function withFingerprint(username: string, password: string, identityToken: string | undefined): Credentials {
  const hash = createHash('sha256').update(JSON.stringify([username, password, identityToken]));
  return { username, password, identityToken, fingerprint: hash.digest('base64') };
}

export function basicAuthorization({ username, password }: Pick<Credentials, 'username' | 'password'>): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
