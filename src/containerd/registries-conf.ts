import { parse, TomlError } from 'smol-toml';
import { left, type Outcome } from './outcome.ts';

export interface RegistriesConf {
  /** The drop-in; undefined where there is nothing to say. */
  readonly text: string | undefined;
  /** Registries that it does not speak of, and why. */
  readonly foregone: readonly Outcome[];
}

const FIRST_LINE = '# By `windlass configure`; `windlass cleanup` takes it away.';

/**
 * A drop-in for the registries.conf.d of CRI-O and podman: the registry is the first part of the mirror's path. Of two
 * files that speak of a registry the later one counts alone, so those that another file has are left to it.
 * @param hosts as in the setting `registries`.
 * @param address `127.0.0.1:5050`
 * @param others the contents of the files that are there.
 */
export function registriesConf(hosts: readonly string[], address: string, others: readonly string[]): RegistriesConf {
  const taken = new Set(others.flatMap(prefixes));
  const foregone: Outcome[] = [];
  const entries: string[] = [];
  for (const host of hosts) {
    if (host.startsWith('*')) {
      const why = 'CRI-O and podman take no mirror for a pattern; list its registries';
      foregone.push({ path: host, kind: 'skipped', why });
    } else if (host.includes(':')) {
      // With such a mirror they would refuse the registry's own images as well: "invalid reference format".
      const why = 'CRI-O and podman take no port in the path of a mirror';
      foregone.push({ path: host, kind: 'skipped', why });
    } else if (taken.has(host)) {
      foregone.push(left(host, `another file has a [[registry]] for it; add ${address}/${host} as mirror there`));
    } else {
      entries.push(entry(host, address));
    }
  }
  return { text: entries.length === 0 ? undefined : [`${FIRST_LINE}\n`, ...entries].join('\n'), foregone };
}

/** Is there anything of ours in a drop-in, as we wrote it or as somebody else changed it? */
export function holdsMirrors(text: string, address: string): boolean {
  return text.includes(FIRST_LINE) || text.includes(address);
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
