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
/** containerd's own. */
const MOST_DOWNLOADS = 3;

/**
 * Does containerd read certs.d? What stands against it in its configuration, and how to mend that: `config_path` must be
 * in the section that the version of its file has, and be this one folder. Says nothing where all is well.
 * @param files the main file first, then what it imports, in that order: later ones count. None: there is no file.
 * @param release of the containerd that runs, `v1.7.2`; undefined where it is not known
 */
export function configPathFaults(
  files: readonly ContainerdConfig[],
  certsDir: string,
  release?: string,
): ConfigPathFault[] {
  const parsedFiles: ParsedFile[] = [];
  for (const { path, text } of files) {
    try {
      parsedFiles.push({ path, table: parse(text, { integersAsBigInt: 'asNeeded' }) });
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const what = `${path} does not parse (line ${error.line})`;
      return [{ code: 'unparsable', what, mend: 'correct that line; containerd does not start with it' }];
    }
  }
  const name = files[0]?.path ?? 'config.toml';
  const sections = sectionsOf(parsedFiles, release);
  const snippet =
    files.length === 0
      ? `write config_path = "${certsDir}" into it: [plugins."${NEW}".registry] with version = 3 (containerd 2.x), or [plugins."${OLD}".registry] with version = 2 (1.x); ${THEN}`
      : `write [plugins."${sections.right}".registry] with config_path = "${certsDir}" into ${name}, ${THEN}`;

  const faults: ConfigPathFault[] = [];
  const { wrong } = sections;
  if (wrong !== undefined && (sections.value ?? '') === '') {
    const but = wrong.isMoved ? ', and that containerd reads from 2.3 on alone' : '';
    const what = `config_path stands in [plugins."${wrong.section}".registry] of ${wrong.path}, a section that version = ${wrong.version} does not have${but}`;
    const fault = { code: 'wrong-section', what, mend: `${snippet}; or change the version` } as const;
    return [wrong.isMoved ? { ...fault, harmless: { from: '2.3' } } : fault];
  }
  if (wrong !== undefined) {
    const right = sectionOf(wrong.version);
    const counts = `that in [plugins."${right}".registry] counts${wrong.isMoved ? ', from containerd 2.3 on the other one' : ''}`;
    const where = wrong.path === name ? `two sections of ${name}` : `two sections, the other one in ${wrong.path}`;
    const what = `config_path stands in ${where}; with version = ${wrong.version} ${counts}`;
    const harmless = wrong.isMoved && wrong.value !== sections.value ? { before: '2.3' } : {};
    const mend = `remove the one in [plugins."${wrong.section}".registry], ${THEN}`;
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

interface ParsedFile {
  readonly path: string;
  readonly table: Table;
}

interface Sections {
  /** The section that counts in the main file. */
  readonly right: string;
  /** Another that has a config_path as well. */
  readonly wrong: WrongSection | undefined;
  readonly value: string | undefined;
  /** The file whose section hides the config_path of another. */
  readonly hiddenBy: string | undefined;
  readonly hasMirrors: boolean;
  /** Mirrors, configs or auths: with them containerd has no config_path by default. */
  readonly hasRegistries: boolean;
  /** Pulls do not go by the transfer service, which takes a list for the name of one folder. */
  readonly pullsLocally: boolean;
}

interface WrongSection {
  readonly section: string;
  readonly value: unknown;
  /** Of the file, and what it says of itself. */
  readonly path: string;
  readonly version: number;
  /** Files of version 3 are older ones to 2.3, which moves what the old section says, over what is there. */
  readonly isMoved: boolean;
}

function sectionsOf(files: readonly ParsedFile[], release: string | undefined): Sections {
  const found = filesInEffect(files, release);
  const registries = found.map(({ plugin }) => at(plugin, 'registry'));
  const paths = registries.map((registry) => at(registry, 'config_path'));
  const value = paths.findLast((path) => typeof path === 'string');
  const has = (key: string) => registries.some((registry) => Object.keys(Object(at(registry, key))).length > 0);
  const hasMirrors = has('mirrors');
  const hasRegistries = hasMirrors || has('configs') || has('auths');
  return {
    right: sectionOf(found[0]?.version ?? 1),
    wrong: wrongSection(found),
    value: typeof value === 'string' ? value : undefined,
    hiddenBy: found.find(({ hides }) => hides)?.path,
    hasMirrors,
    hasRegistries,
    pullsLocally: hasRegistries || pullsByItself(found),
  };
}

interface FileInEffect extends ParsedFile {
  /** By which its sections are read. */
  readonly version: number;
  /** What it says in the section of that version; undefined where nothing of it counts. */
  readonly plugin: unknown;
  /** An earlier file has a config_path, and this one's section takes its place without one. */
  readonly hides: boolean;
}

/**
 * containerd 2.x brings each file by its own version to the newest form, and merges them key by key. 1.x takes all
 * for files of one version, and of a plugin the whole section of the last file that has it.
 */
function filesInEffect(files: readonly ParsedFile[], release: string | undefined): FileInEffect[] {
  const versionOf = ({ table }: ParsedFile) => (table.version === undefined ? undefined : Number(table.version));
  const pluginIn = ({ table }: ParsedFile, version: number) => at(table, 'plugins', sectionOf(version));
  if (!/^v?1\./.test(release ?? '')) {
    return files.map((file) => {
      // Without the line it is version 1, whose sections have no long names.
      const version = versionOf(file) ?? 1;
      return { ...file, version, plugin: pluginIn(file, version), hides: false };
    });
  }
  const version = files.map(versionOf).findLast((one) => one !== undefined) ?? 1;
  const last = files.findLastIndex((file) => pluginIn(file, version) !== undefined);
  return files.map((file, index) => {
    const plugin = index === last ? pluginIn(file, version) : undefined;
    const isNamed = (one: ParsedFile) => at(pluginIn(one, version), 'registry', 'config_path') !== undefined;
    const hides = plugin !== undefined && !isNamed(file) && files.slice(0, index).some(isNamed);
    return { ...file, version, plugin, hides };
  });
}

function sectionOf(version: number): string {
  return version >= 3 ? NEW : version === 2 ? OLD : 'cri';
}

function wrongSection(files: readonly FileInEffect[]): WrongSection | undefined {
  const all = files.flatMap(({ path, version, table }) =>
    [OLD, NEW]
      .filter((section) => section !== sectionOf(version))
      .map((section): WrongSection => {
        const value = at(table, 'plugins', section, 'registry', 'config_path');
        return { section, value, path, version, isMoved: version === 3 && section === OLD };
      }),
  );
  return all.findLast(({ value }) => typeof value === 'string' && value !== '');
}

/**
 * By what else than registries does containerd 2.2 and newer pull by itself, not by the transfer service? As its
 * CheckLocalImagePullConfigs has it, of settings that the transfer service does not know.
 */
function pullsByItself(files: readonly FileInEffect[]): boolean {
  const downloads = lastOf(files, 'max_concurrent_downloads');
  return (
    lastOf(files, 'use_local_image_pull') === true ||
    lastOf(files, 'image_pull_with_sync_fs') === true ||
    (downloads !== undefined && Number(downloads) !== MOST_DOWNLOADS) ||
    lastOfUnpacking(files, 'disable_snapshot_annotations') === false ||
    lastOfUnpacking(files, 'discard_unpacked_layers') === true
  );
}

function lastOf(files: readonly FileInEffect[], ...path: readonly string[]): unknown {
  return files.map(({ plugin }) => at(plugin, ...path)).findLast((value) => value !== undefined);
}

/** Older files have these in a section of their own. */
function lastOfUnpacking(files: readonly FileInEffect[], key: string): unknown {
  return files
    .map(({ plugin, version }) => (version >= 3 ? at(plugin, key) : at(plugin, 'containerd', key)))
    .findLast((value) => value !== undefined);
}

/**
 * Does containerd throw layers away once they are unpacked (`discard_unpacked_layers`)?
 * @param files as for `configPathFaults`; what does not parse says nothing.
 * @param release as for `configPathFaults`
 */
export function discardsLayers(files: readonly ContainerdConfig[], release?: string): boolean {
  const readable = files.map(({ path, text }) => ({ path, table: parsed(text) ?? {} }));
  return lastOfUnpacking(filesInEffect(readable, release), 'discard_unpacked_layers') === true;
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
  { value = '', hiddenBy, hasRegistries, pullsLocally }: Sections,
  certsDir: string,
  name: string,
  isThere: boolean,
): (Omit<ConfigPathFault, 'mend'> & { mend?: string }) | undefined {
  const paths = value.split(':').filter((path) => path !== '');
  const isNamed = paths.some((path) => trimmed(path) === trimmed(certsDir));
  if (paths.length === 0) {
    if (hiddenBy !== undefined) {
      const what = `the import ${hiddenBy} hides the config_path of another file: containerd 1.x takes the whole section of the last file that has it`;
      return {
        code: 'unset',
        what,
        mend: `write config_path = "${certsDir}" into the registry table of ${hiddenBy}, ${THEN}`,
      };
    }
    const where = isThere ? `${name} sets no config_path` : `there is no containerd configuration (config.toml)`;
    const what = `${where}: containerd 1.x then reads no hosts.toml at all, 2.x takes a list of two folders by default, which 2.2 and newer do not read in pulls`;
    if (hasRegistries || trimmed(certsDir) !== '/etc/containerd/certs.d') return { code: 'unset', what };
    return { code: 'unset', what, harmless: pullsLocally ? { from: '2.0' } : { from: '2.0', before: '2.2' } };
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
