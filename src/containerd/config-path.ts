import { normalize } from 'node:path';
import { parse, TomlError } from 'smol-toml';

/** containerd's config.toml, or a file that it imports. */
export interface ContainerdConfig {
  readonly path: string;
  readonly text: string;
}

export interface ConfigPathFault {
  readonly code: 'unparsable' | 'unset' | 'list' | 'elsewhere' | 'wrong-section' | 'both-sections' | 'mirrors';
  /** What is wrong. */
  readonly what: string;
  /** How to mend it. */
  readonly mend: string;
  /** The releases of containerd that ask the mirror all the same: all, or from `2.0` on, or those before `2.2`. */
  readonly harmless?: { readonly from?: string; readonly before?: string };
}

const OLD = 'io.containerd.grpc.v1.cri';
const NEW = 'io.containerd.cri.v1.images';
const THEN = 'then restart containerd';

/**
 * Does containerd read certs.d? What stands against it in its configuration, and how to mend that: `config_path` must be
 * in the section that this version of the file has, and be this one folder. Says nothing where all is well.
 * @param files the main file first, then what it imports, in that order: later ones count. None: there is no file.
 */
export function configPathFaults(files: readonly ContainerdConfig[], certsDir: string): ConfigPathFault[] {
  const tables: Table[] = [];
  for (const { path, text } of files) {
    try {
      tables.push(parse(text, { integersAsBigInt: 'asNeeded' }));
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const what = `${path} does not parse (line ${error.line})`;
      return [{ code: 'unparsable', what, mend: 'correct that line; containerd does not start with it' }];
    }
  }
  const name = files[0]?.path ?? 'config.toml';
  // Without the line it is version 1, whose sections have no long names.
  const version = Number(tables[0]?.version ?? 1);
  const sections = sectionsOf(tables, version);
  const snippet =
    files.length === 0
      ? `write config_path = "${certsDir}" into it: [plugins."${NEW}".registry] with version = 3 (containerd 2.x), or [plugins."${OLD}".registry] with version = 2 (1.x); ${THEN}`
      : `write [plugins."${sections.right}".registry] with config_path = "${certsDir}" into ${name}, ${THEN}`;

  const faults: ConfigPathFault[] = [];
  // Files of version 3 are older ones to 2.3, which moves what the old section says, over what is there.
  const isMoved = version === 3 && sections.wrong === OLD;
  if (sections.wrong !== undefined && (sections.value ?? '') === '') {
    const but = isMoved ? ', and that containerd reads from 2.3 on alone' : '';
    const what = `config_path stands in [plugins."${sections.wrong}".registry] of ${name}, a section that version = ${version} does not have${but}`;
    const fault = { code: 'wrong-section', what, mend: `${snippet}; or change the version` } as const;
    return [isMoved ? { ...fault, harmless: { from: '2.3' } } : fault];
  }
  if (sections.wrong !== undefined) {
    const counts = `that in [plugins."${sections.right}".registry] counts${isMoved ? ', from containerd 2.3 on the other one' : ''}`;
    const what = `config_path stands in two sections of ${name}; with version = ${version} ${counts}`;
    const harmless = isMoved && sections.wrongValue !== sections.value ? { before: '2.3' } : {};
    const mend = `remove the one in [plugins."${sections.wrong}".registry], ${THEN}`;
    faults.push({ code: 'both-sections', what, mend, harmless });
  }
  if (sections.hasMirrors) {
    const what = `${name} has registry.mirrors, the old way: beside config_path containerd's CRI does not start, and without config_path hosts.toml files are not read`;
    const mend = `move them into hosts.toml files in ${certsDir}, remove them, and ${snippet}`;
    return [...faults, { code: 'mirrors', what, mend }];
  }
  const fault = faultOfValue(sections, certsDir, name, files.length > 0);
  return fault === undefined ? faults : [...faults, { ...fault, mend: fault.mend ?? snippet }];
}

type Table = Readonly<Record<string, unknown>>;

interface Sections {
  /** The section that counts. */
  readonly right: string;
  /** Another that has a config_path as well. */
  readonly wrong: string | undefined;
  readonly wrongValue: unknown;
  readonly value: string | undefined;
  readonly hasMirrors: boolean;
  /** Pulls do not go by the transfer service, which takes a list for the name of one folder. */
  readonly pullsLocally: boolean;
}

function sectionsOf(tables: readonly Table[], version: number): Sections {
  const right = version >= 3 ? NEW : version === 2 ? OLD : 'cri';
  const registries = (section: string) => tables.map((table) => at(table, 'plugins', section, 'registry'));
  const last = (section: string) =>
    registries(section)
      .map((registry) => at(registry, 'config_path'))
      .findLast((value) => typeof value === 'string');
  const value = last(right);
  const wrong = [OLD, NEW].find((section) => section !== right && (last(section) ?? '') !== '');
  return {
    right,
    wrong,
    wrongValue: wrong === undefined ? undefined : last(wrong),
    value: typeof value === 'string' ? value : undefined,
    hasMirrors: registries(right).some((registry) => Object.keys(Object(at(registry, 'mirrors'))).length > 0),
    // The transfer service cannot discard layers, so then containerd does not pull by it.
    pullsLocally:
      tables.some((table) => at(table, 'plugins', right, 'use_local_image_pull') === true) || discards(tables, version),
  };
}

/**
 * Does containerd throw layers away once they are unpacked (`discard_unpacked_layers`)?
 * @param files as for `configPathFaults`; what does not parse says nothing.
 */
export function discardsLayers(files: readonly ContainerdConfig[]): boolean {
  const tables = files.map(({ text }) => parsed(text) ?? {});
  return discards(tables, Number(tables[0]?.version ?? 1));
}

function discards(tables: readonly Table[], version: number): boolean {
  const section = version >= 3 ? [NEW] : [version === 2 ? OLD : 'cri', 'containerd'];
  const values = tables.map((table) => at(table, 'plugins', ...section, 'discard_unpacked_layers'));
  return values.findLast((value) => typeof value === 'boolean') === true;
}

function parsed(text: string): Table | undefined {
  try {
    return parse(text, { integersAsBigInt: 'asNeeded' });
  } catch (error) {
    if (error instanceof TomlError) return undefined;
    throw error;
  }
}

function faultOfValue(
  { value = '', pullsLocally }: Sections,
  certsDir: string,
  name: string,
  isThere: boolean,
): (Omit<ConfigPathFault, 'mend'> & { mend?: string }) | undefined {
  const paths = value.split(':').filter((path) => path !== '');
  const isNamed = paths.some((path) => trimmed(path) === trimmed(certsDir));
  if (paths.length === 0) {
    const where = isThere ? `${name} sets no config_path` : `there is no containerd configuration (config.toml)`;
    const what = `${where}: containerd 1.x then reads no hosts.toml at all, 2.x takes a list of two folders by default, which 2.2 and newer do not read in pulls`;
    const isDefault = trimmed(certsDir) === '/etc/containerd/certs.d';
    return isDefault ? { code: 'unset', what, harmless: { from: '2.0', before: '2.2' } } : { code: 'unset', what };
  }
  if (paths.length > 1 && !(pullsLocally && isNamed)) {
    const what = `config_path in ${name} is a list, "${value}": containerd 2.2 and newer take it for the name of one folder, and so read none`;
    return isNamed ? { code: 'list', what, harmless: { before: '2.2' } } : { code: 'list', what };
  }
  if (isNamed) return undefined;
  const what = `config_path in ${name} is "${value}", and the mirror is written to ${certsDir}`;
  return { code: 'elsewhere', what, mend: `set containerd.certsDir to ${value}; or ${certsDir} in ${name}, ${THEN}` };
}

function at(from: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    from,
  );
}

function trimmed(path: string): string {
  return normalize(path).replace(/\/+$/, '');
}
