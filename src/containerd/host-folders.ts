import { matchesHostPattern } from '../config/registry-host.ts';

/** What stands in certs.d under a name. */
export interface CertsEntry {
  readonly kind:
    | 'folder'
    /** A link to a folder in certs.d itself. */
    | 'alias'
    /** A link to somewhere else. */
    | 'foreign'
    /** A link to nothing: containerd goes on to the next name. */
    | 'dangling'
    /** No folder: containerd fails. */
    | 'other';
  /** For `alias`: what it leads to, as a path in certs.d. For `dangling`: what it would lead to. */
  readonly folder?: string;
}

export interface MirroredRegistry {
  /** As in the setting `registries`: `docker.io`, `registry.local:5000`, `*.gcr.io`, `*`. */
  readonly host: string;
  readonly endpoint?: string | undefined;
}

export interface HostFolder {
  /** In certs.d. */
  readonly folder: string;
  /** What the registry itself is, for a hosts.toml that is not there yet; undefined for several registries. */
  readonly server?: string | undefined;
}

export interface HostFolders {
  readonly folders: readonly HostFolder[];
  /** Registries whose folder must be left alone, and why. */
  readonly left: readonly { readonly path: string; readonly why: string }[];
}

const DEFAULT = '_default';

/**
 * Which folders of certs.d are to name the mirror, so that containerd asks it for all of these registries and every
 * file that counted before goes on to count. containerd reads one folder for a registry: the first that exists of
 * `host_port_`, `host:port` and `_default`. So a folder that is made can hide another one, and is made only where there
 * is none: a registry that `_default` served until now is mirrored there. Patterns have no folder but `_default`, and
 * whatever folders there are for hosts that they match.
 * @param entries what is there, without what an earlier `configure` made.
 */
export function hostFolders(
  registries: readonly MirroredRegistry[],
  entries: ReadonlyMap<string, CertsEntry>,
): HostFolders {
  const plan = new Plan(entries);
  const patterns = registries.filter(({ host }) => host.startsWith('*'));
  const useDefault = patterns.length > 0 || counts(entries.get(DEFAULT));
  for (const registry of registries.filter((one) => !patterns.includes(one))) {
    const names = folderNames(registry.host);
    const own = names.find((name) => counts(entries.get(name)));
    if (own !== undefined) plan.use(own, serverOf(registry));
    // A registry that is elsewhere than its name says needs a file that says so, for when the mirror is away.
    else if (useDefault && (registry.endpoint === undefined || counts(entries.get(DEFAULT)))) plan.use(DEFAULT);
    else plan.use(names.at(-1) ?? registry.host, serverOf(registry));
  }
  if (patterns.length > 0) plan.use(DEFAULT);
  for (const [name, { kind }] of entries) {
    // A stray file is nobody's registry.
    const isFolder = (kind === 'folder' || kind === 'alias' || kind === 'foreign') && !/^[_.]/.test(name);
    if (isFolder && patterns.some(({ host }) => matchesHostPattern(host, hostOf(name)))) plan.use(name);
  }
  return plan;
}

class Plan implements HostFolders {
  readonly #entries: ReadonlyMap<string, CertsEntry>;
  readonly #folders = new Map<string, HostFolder>();
  readonly #left = new Map<string, { path: string; why: string }>();

  constructor(entries: ReadonlyMap<string, CertsEntry>) {
    this.#entries = entries;
  }

  get folders(): readonly HostFolder[] {
    return [...this.#folders.values()];
  }

  get left(): HostFolders['left'] {
    return [...this.#left.values()];
  }

  use(name: string, server?: string): void {
    const entry = this.#entries.get(name);
    const why = refusal(entry);
    if (why !== undefined) this.#left.set(name, { path: name, why });
    else if (entry?.kind === 'alias') this.#add({ folder: entry.folder ?? name });
    else this.#add(server === undefined ? { folder: name } : { folder: name, server });
  }

  /** What two registries share must not say of both that they are the one; nor may a link to it, that now leads there. */
  #add(wanted: HostFolder): void {
    const { folder, server } = wanted;
    const before = this.#folders.get(folder);
    const isShared = before !== undefined && before.server !== server;
    const isLinked = [...this.#entries.values()].some((entry) => entry.folder === folder);
    this.#folders.set(folder, isShared || isLinked ? { folder } : wanted);
  }
}

function refusal(entry: CertsEntry | undefined): string | undefined {
  switch (entry?.kind) {
    case 'foreign':
      return 'it is a link to a folder outside of certs.d; name the mirror there by hand';
    case 'dangling':
      return 'it is a link to nothing; remove it, then run windlass configure again';
    case 'other':
      return 'it is no folder, and pulls fail with it; remove it, then run windlass configure again';
    default:
      return undefined;
  }
}

function counts(entry: CertsEntry | undefined): boolean {
  return entry !== undefined && entry.kind !== 'dangling';
}

/** In containerd's order, `_default` left out. The last is the one to make: nobody else's is hidden by it. */
export function folderNames(host: string): string[] {
  const colon = host.lastIndexOf(':');
  return colon > 0 ? [`${host.slice(0, colon)}_${host.slice(colon + 1)}_`, host] : [host];
}

/** The host that a folder is for. */
export function hostOf(name: string): string {
  return name.replace(/_(\d+)_$/, ':$1').toLowerCase();
}

/** As containerd finds it without a file; for this machine's own it has rules that a line would put out of force. */
function serverOf({ host, endpoint }: MirroredRegistry): string | undefined {
  if (endpoint !== undefined) return endpoint;
  if (host === 'docker.io') return 'https://registry-1.docker.io';
  return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(host) ? undefined : `https://${host}`;
}
