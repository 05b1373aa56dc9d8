import { resolve } from 'node:path';
import { checkValues } from './check-values.ts';
import { readConfigFile } from './config-file.ts';
import { findContradictions } from './contradictions.ts';
import { invalidSettings } from './fault.ts';
import { readFlags } from './flags.ts';
import type { Given, Source } from './given.ts';
import type { Settings } from './settings.ts';
import { chooseStorePath } from './store-path.ts';
import { unreadableFiles } from './unreadable-files.ts';
import { readVariables } from './variables.ts';
import { warningsOf } from './warnings.ts';

export interface SettingSources {
  /** The command line after the command. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths begin here. */
  readonly cwd: string;
}

export interface LoadedSettings {
  readonly settings: Settings;
  /** What somebody should know who reads the log; each a sentence. */
  readonly warnings: readonly string[];
}

export interface ReadSettings {
  /** As they were written; `store.path` absolute. */
  readonly settings: Settings;
  /** Where the agent keeps its store if `store.path` cannot be written; undefined where somebody chose the path. */
  readonly fallbackStorePath: string | undefined;
}

/**
 * Flag over variable over file over default, setting by setting (a list is taken whole). `store.path` comes back
 * absolute, and its folder exists if it could be made.
 * @throws INVALID_SETTINGS with every fault of all sources in its message, a line each.
 */
export async function loadSettings(sources: SettingSources): Promise<LoadedSettings> {
  const { settings, fallbackStorePath } = await readSettings(sources);
  const store = await chooseStorePath(settings.store.path, fallbackStorePath);
  const chosen: Settings = { ...settings, store: { ...settings.store, path: store.path } };
  return {
    settings: chosen,
    warnings: [
      ...(store.warning === undefined ? [] : [store.warning]),
      ...warningsOf(chosen),
      ...(await unreadableFiles(chosen, sources.cwd)),
    ],
  };
}

/**
 * The same settings, for whoever talks to an agent instead of being one: no file is looked at but `--config`'s, and
 * nothing is made.
 * @throws INVALID_SETTINGS
 */
export async function readSettings({ flags, env, cwd }: SettingSources): Promise<ReadSettings> {
  const fromFlags = readFlags(flags);
  const fromVariables = readVariables(env);
  const file = fromFlags.configFile ?? fromVariables.configFile;
  const fromFile: Source =
    file === undefined ? { given: new Map(), faults: [] } : await readConfigFile(String(file.value), cwd);

  const given = new Map<string, Given>([...fromFile.given, ...fromVariables.given, ...fromFlags.given]);
  const checked = checkValues(given);
  const faults = [
    ...[fromFlags, fromVariables, fromFile].flatMap((source) => source.faults),
    ...checked.faults,
    ...findContradictions(checked, given),
  ];
  if (faults.length > 0) throw invalidSettings(faults);

  const { settings } = checked;
  return {
    settings: { ...settings, store: { ...settings.store, path: resolve(cwd, settings.store.path) } },
    fallbackStorePath: given.has('store.path') ? undefined : resolve(cwd, '.windlass'),
  };
}
