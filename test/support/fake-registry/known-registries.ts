import type { Habit } from './fake-registry.ts';
import * as habits from './habits.ts';

/** The servers that a known registry consists of, all on ports of their own. */
export interface Places {
  readonly registry: string;
  readonly storage: string;
  readonly auth: string;
}

export interface KnownRegistry {
  readonly name: string;
  /** What clients ask for. */
  readonly host: string;
  readonly repository?: string;
  /** Names that the auth and the storage server have; the endpoint is loopback, so they may be, too. */
  readonly authHostname?: string;
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly habits: (places: Places) => {
    readonly registry: readonly Habit[];
    readonly storage?: readonly Habit[];
    readonly auth?: readonly Habit[];
  };
  readonly expect: {
    readonly digestOnHead: boolean;
    readonly sizeOnHead?: false;
    readonly rangeIgnored?: true;
    /** Token requests for one repository, however many requests follow. */
    readonly tokens: number;
    /** Blobs come from the object store. */
    readonly storage: boolean;
    /** The token server, or the registry where it takes Basic, sees the stored credentials. */
    readonly credentialsSeenBy?: 'auth' | 'registry';
  };
}

const ACCOUNT = { username: 'user', password: 'p:a,ss-word' };
const account = `${ACCOUNT.username}:${ACCOUNT.password}`;

/** What each registry's public documentation and clients' sources say of it. */
export const KNOWN_REGISTRIES: readonly KnownRegistry[] = [
  {
    name: 'Docker Hub: tokens of auth.docker.io, blobs redirected to a CDN, one-segment names under library/',
    host: 'docker.io',
    repository: 'redis',
    authHostname: 'auth.docker.io',
    habits: ({ auth, storage }) => {
      const tokens = habits.tokens({ realm: `${auth}/token`, service: 'registry.docker.io', expiresIn: 300 });
      const onlyLibrary = habits.where(
        ({ kind, repository }) => kind !== 'token' && repository !== 'library/redis',
        habits.answer(401),
      );
      return {
        registry: [onlyLibrary, tokens.registry, habits.redirects('blob', habits.signed(storage))],
        storage: [habits.objectStore],
        auth: [tokens.server],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true },
  },
  {
    name: 'Docker Hub with an account',
    host: 'docker.io',
    authHostname: 'auth.docker.io',
    repository: 'private/app',
    credentials: ACCOUNT,
    habits: ({ auth, storage }) => {
      const tokens = habits.tokens({ realm: `${auth}/token`, service: 'registry.docker.io', account, expiresIn: 300 });
      return {
        registry: [tokens.registry, habits.redirects('blob', habits.signed(storage))],
        storage: [habits.objectStore],
        auth: [tokens.server],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true, credentialsSeenBy: 'auth' },
  },
  {
    name: 'ghcr.io: tokens on its own host, POST refused',
    host: 'ghcr.io',
    habits: ({ registry, storage }) => {
      const tokens = habits.tokens({ realm: `${registry}/token`, service: 'ghcr.io', post: 405 });
      return {
        registry: [tokens.server, tokens.registry, habits.redirects('blob', habits.signed(storage))],
        storage: [habits.objectStore],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true },
  },
  {
    name: 'quay.io: a challenge without a scope, 302 to storage that allows GET alone',
    host: 'quay.io',
    habits: ({ registry, storage }) => {
      const tokens = habits.tokens({ realm: `${registry}/v2/auth`, service: 'quay.io', withoutScope: true });
      return {
        registry: [tokens.server, tokens.registry, habits.redirects('blob', habits.signed(storage), 302)],
        storage: [habits.objectStore, habits.getOnly],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true },
  },
  {
    name: 'registry.k8s.io: manifests and blobs redirected by region',
    host: 'registry.k8s.io',
    habits: ({ auth, storage }) => ({
      registry: [
        habits.redirects('manifest', ({ logged }) => `${auth}${logged.path}`),
        habits.redirects('blob', habits.signed(storage)),
      ],
      storage: [habits.objectStore],
      auth: [],
    }),
    expect: { digestOnHead: true, tokens: 0, storage: true },
  },
  {
    name: 'gcr.io and pkg.dev: token by GET alone (POST 404), blobs on another host',
    host: 'europe-docker.pkg.dev',
    credentials: ACCOUNT,
    repository: 'private/app',
    habits: ({ registry, storage }) => {
      const tokens = habits.tokens({ realm: `${registry}/v2/token`, service: 'pkg.dev', account, post: 404 });
      return {
        registry: [tokens.server, tokens.registry, habits.redirects('blob', habits.signed(storage), 302)],
        storage: [habits.objectStore],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true, credentialsSeenBy: 'registry' },
  },
  {
    name: 'mcr.microsoft.com: anonymous, blobs redirected to a region',
    host: 'mcr.microsoft.com',
    habits: ({ storage }) => ({
      registry: [habits.redirects('blob', habits.signed(storage))],
      storage: [habits.objectStore],
    }),
    expect: { digestOnHead: true, tokens: 0, storage: true },
  },
  {
    name: 'ECR: Basic, no digest on HEAD, S3 that refuses Authorization',
    host: '123456789012.dkr.ecr.eu-central-1.amazonaws.com',
    credentials: { username: 'AWS', password: 'ecr-token' },
    habits: ({ storage }) => ({
      registry: [
        habits.basicAuth('AWS:ecr-token'),
        habits.onMethod('HEAD', habits.withoutHeader('docker-content-digest')),
        habits.redirects('blob', habits.signed(storage)),
      ],
      storage: [habits.objectStore, habits.getOnly],
    }),
    expect: { digestOnHead: false, tokens: 0, storage: true, credentialsSeenBy: 'registry' },
  },
  {
    name: 'ECR Public: tokens without expires_in, no digest at all',
    host: 'public.ecr.aws',
    habits: ({ registry, storage }) => {
      const tokens = habits.tokens({ realm: `${registry}/token/`, service: 'public.ecr.aws' });
      return {
        registry: [
          tokens.server,
          tokens.registry,
          habits.withoutHeader('docker-content-digest'),
          habits.redirects('blob', habits.signed(storage)),
        ],
        storage: [habits.objectStore],
      };
    },
    expect: { digestOnHead: false, tokens: 1, storage: true },
  },
  {
    name: 'GitLab: the realm on another host of the same domain, a job token',
    host: 'registry.gitlab.com',
    authHostname: 'gitlab.com',
    credentials: ACCOUNT,
    repository: 'private/app',
    habits: ({ auth, storage }) => {
      const tokens = habits.tokens({
        realm: `${auth}/jwt/auth`,
        service: 'container_registry',
        account,
        expiresIn: 900,
      });
      return {
        registry: [tokens.registry, habits.redirects('blob', habits.signed(storage))],
        storage: [habits.objectStore],
        auth: [tokens.server],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: true, credentialsSeenBy: 'auth' },
  },
  {
    name: 'Artifactory: POST refused with 401, access_token, no Content-Type, ranges ignored',
    host: 'company.jfrog.io',
    credentials: ACCOUNT,
    repository: 'private/app',
    habits: ({ registry }) => {
      const tokens = habits.tokens({
        realm: `${registry}/api/docker/docker-remote/v2/token`,
        service: 'company.jfrog.io',
        account,
        post: 401,
        field: 'access_token',
      });
      return {
        registry: [tokens.server, tokens.registry, habits.withoutHeader('content-type'), habits.ignoresRange],
      };
    },
    expect: { digestOnHead: true, tokens: 1, storage: false, rangeIgnored: true, credentialsSeenBy: 'registry' },
  },
  {
    name: 'Harbor: tokens of /service/token',
    host: 'harbor.example.com',
    credentials: ACCOUNT,
    repository: 'private/app',
    habits: ({ registry }) => {
      const tokens = habits.tokens({ realm: `${registry}/service/token`, service: 'harbor-registry', account });
      return { registry: [tokens.server, tokens.registry] };
    },
    expect: { digestOnHead: true, tokens: 1, storage: false, credentialsSeenBy: 'registry' },
  },
  {
    name: 'zot: Basic',
    host: 'zot.example.com',
    credentials: ACCOUNT,
    habits: () => ({ registry: [habits.basicAuth(account)] }),
    expect: { digestOnHead: true, tokens: 0, storage: false, credentialsSeenBy: 'registry' },
  },
  {
    name: 'distribution: anonymous',
    host: 'registry.example.com:5000',
    habits: () => ({ registry: [] }),
    expect: { digestOnHead: true, tokens: 0, storage: false },
  },
];
