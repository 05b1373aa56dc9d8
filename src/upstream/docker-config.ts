export interface DockerConfigEntry {
  readonly host: string;
  /** Repositories at or below this path; '' for all (podman's auth.json writes `quay.io/org`). */
  readonly path: string;
  readonly username: string;
  readonly password: string;
  readonly identityToken: string | undefined;
}

export interface DockerConfig {
  readonly entries: readonly DockerConfigEntry[];
  /** `credHelpers`: host to the helper's name. Never run. */
  readonly helpers: ReadonlyMap<string, string>;
  /** `credsStore`. */
  readonly defaultHelper: string | undefined;
}

/**
 * Reads ~/.docker/config.json, a Kubernetes dockerconfigjson, or podman's auth.json. Entries without credentials
 * (the mark of a helper) are left out.
 * @throws Error that names the key at fault and quotes nothing.
 */
export function parseDockerConfig(text: string): DockerConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error('is not JSON'); // the parser's own message quotes the contents
  }
  if (!isRecord(json)) throw new Error('is not a JSON object');
  const { auths = {}, credHelpers = {}, credsStore } = json;
  if (!isRecord(auths)) throw new Error('"auths" is not an object');
  const entries: DockerConfigEntry[] = [];
  for (const [key, value] of Object.entries(auths)) {
    const entry = parseEntry(key, value);
    if (entry !== undefined) entries.push(entry);
  }
  const helpers = new Map<string, string>();
  for (const [key, value] of Object.entries(isRecord(credHelpers) ? credHelpers : {})) {
    if (typeof value === 'string') helpers.set(parseKey(key).host, value);
  }
  return {
    entries,
    helpers,
    defaultHelper: typeof credsStore === 'string' && credsStore !== '' ? credsStore : undefined,
  };
}

/** The entry with the longest path that the repository lies in; hosts are tried in their order. */
export function findEntry(
  config: DockerConfig,
  hosts: readonly string[],
  repository: string,
): DockerConfigEntry | undefined {
  for (const host of hosts) {
    const fitting = config.entries.filter(
      ({ host: of, path }) => of === host && (path === '' || `${repository}/`.startsWith(`${path}/`)),
    );
    fitting.sort((a, b) => b.path.length - a.path.length);
    if (fitting[0] !== undefined) return fitting[0];
  }
  return undefined;
}

function parseEntry(key: string, value: unknown): DockerConfigEntry | undefined {
  if (!isRecord(value)) throw new Error(`"auths" of ${key} is not an object`);
  const { auth, identitytoken } = value;
  let { username, password } = value;
  if (typeof auth === 'string' && auth !== '') {
    const decoded = Buffer.from(auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (colon <= 0) throw new Error(`"auth" of ${key} is not base64 of user:password`);
    username = decoded.slice(0, colon);
    password = decoded.slice(colon + 1).replace(/\0+$/, ''); // some tools pad it
  }
  const identityToken = typeof identitytoken === 'string' && identitytoken !== '' ? identitytoken : undefined;
  if (typeof username !== 'string' || username === '') {
    if (identityToken === undefined) return undefined;
    username = '<token>';
  }
  return {
    ...parseKey(key),
    username: String(username),
    password: typeof password === 'string' ? password : '',
    identityToken,
  };
}

/** `https://index.docker.io/v1/`, `quay.io`, `registry.local:5000/team`. */
function parseKey(key: string): { host: string; path: string } {
  const bare = key
    .trim()
    .replace(/^https?:\/\//i, '')
    .replace(/\/+$/, '');
  const slash = bare.indexOf('/');
  if (slash < 0) return { host: bare.toLowerCase(), path: '' };
  const path = bare.slice(slash + 1);
  return { host: bare.slice(0, slash).toLowerCase(), path: /^v[12]$/.test(path) ? '' : path };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
