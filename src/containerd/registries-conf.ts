import { parse, TomlError } from 'smol-toml';

export interface RegistriesConf {
  /** The drop-in; undefined where there is nothing to say. */
  readonly text: string | undefined;
  /** Registries that cannot be mirrored this way, and why. */
  readonly left: readonly { readonly path: string; readonly why: string }[];
}

/**
 * A drop-in for the registries.conf.d of CRI-O and podman: the registry is the first part of the mirror's path. Of two
 * files that speak of a registry the later one counts alone, so those that another file has are left to it.
 * @param hosts as in the setting `registries`.
 * @param address `127.0.0.1:5050`
 * @param others the contents of the files that are there.
 */
export function registriesConf(hosts: readonly string[], address: string, others: readonly string[]): RegistriesConf {
  const taken = new Set(others.flatMap(prefixes));
  const left: { path: string; why: string }[] = [];
  const entries: string[] = [];
  for (const host of hosts) {
    if (host.startsWith('*')) {
      left.push({ path: host, why: 'CRI-O and podman cannot be told of a mirror for a pattern; list its registries' });
    } else if (taken.has(host)) {
      left.push({ path: host, why: `another file has a [[registry]] for it; add ${address}/${host} as mirror there` });
    } else {
      entries.push(entry(host, address));
    }
  }
  const first = '# By `windlass configure`; `windlass cleanup` takes it away.\n';
  return { text: entries.length === 0 ? undefined : [first, ...entries].join('\n'), left };
}

function entry(host: string, address: string): string {
  return `[[registry]]
prefix = "${host}"
location = "${host}"

[[registry.mirror]]
location = "${address}/${host}"
insecure = true
`;
}

/** The registries that a registries.conf speaks of. One that does not parse speaks of none, and makes pulls fail. */
function prefixes(text: string): string[] {
  let registries: unknown;
  try {
    registries = parse(text).registry;
  } catch (error) {
    if (error instanceof TomlError) return [];
    throw error;
  }
  if (!Array.isArray(registries)) return [];
  return registries.flatMap((one: unknown) => {
    if (typeof one !== 'object' || one === null) return [];
    const name: unknown = Reflect.get(one, 'prefix') ?? Reflect.get(one, 'location');
    return typeof name === 'string' ? [name] : [];
  });
}
