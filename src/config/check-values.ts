import type { z } from 'zod';
import { type Fault, nearest } from './fault.ts';
import type { Given } from './given.ts';
import { REGISTRY_FIELDS, SECTIONS, SETTING_KEYS } from './setting-keys.ts';
import { type Settings, settingsSchema } from './settings.ts';

export interface CheckedValues {
  /** With the default in place of every value that has a fault, so that the others can still be compared. */
  readonly settings: Settings;
  readonly faults: readonly Fault[];
  /** Keys of the settings that have a fault. */
  readonly faulty: ReadonlySet<string>;
}

/** Reads what was given by the schema. Nothing is thrown for what people wrote. */
export function checkValues(given: ReadonlyMap<string, Given>): CheckedValues {
  const result = settingsSchema.safeParse(nest(given));
  if (result.success) return { settings: result.data, faults: [], faulty: new Set() };

  const faults: Fault[] = [];
  const faulty = new Set<string>();
  for (const issue of result.error.issues) {
    const setting = SETTING_KEYS.find(({ path }) => path.every((part, index) => issue.path[index] === part));
    if (setting === undefined) throw result.error;
    faulty.add(setting.key);
    faults.push(...faultsOf(issue, setting.key, issue.path.slice(setting.path.length), given.get(setting.key)));
  }
  const usable = new Map([...given].filter(([key]) => !faulty.has(key)));
  return { settings: settingsSchema.parse(nest(usable)), faults, faulty };
}

/** `discovery.dns.name` to `{ discovery: { dns: { name } } }`, every section present. */
function nest(given: ReadonlyMap<string, Given>): object {
  const root: Record<string, unknown> = {};
  const sections = new Map([['', root]]);
  const put = (path: readonly string[], value: unknown) => {
    const content = sections.get(path.slice(0, -1).join('.')) ?? root;
    content[path.at(-1) ?? ''] = value;
  };
  for (const section of SECTIONS) {
    const content: Record<string, unknown> = {};
    sections.set(section, content);
    put(section.split('.'), content);
  }
  for (const { key, path } of SETTING_KEYS) {
    const entry = given.get(key);
    if (entry !== undefined) put(path, entry.value);
  }
  return root;
}

function faultsOf(
  issue: z.core.$ZodIssue,
  key: string,
  below: readonly PropertyKey[],
  given: Given | undefined,
): Fault[] {
  const single = !Array.isArray(given?.value);
  const written = single && typeof below[0] === 'number' ? below.slice(1) : below;
  const where = written.reduce<string>(
    (text, part) => text + (typeof part === 'number' ? `[${part}]` : `.${String(part)}`),
    key,
  );
  const value = written.reduce<unknown>(valueAt, given?.value);
  if (issue.code !== 'unrecognized_keys') {
    const right = value === undefined && where.endsWith('.host') ? `it is missing; ${issue.message}` : issue.message;
    return [{ key: where, origin: given?.origin, value, right }];
  }
  // Their values are not shown: somebody may have written a password here.
  return issue.keys.map((name) => ({
    key: `${where}.${name}`,
    origin: given?.origin,
    right: unknownField(`registries[].${[...below.filter((part) => typeof part === 'string'), name].join('.')}`),
  }));
}

function valueAt(content: unknown, part: PropertyKey): unknown {
  // A registry that is written as a plain string is its host.
  if (typeof content === 'string' && part === 'host') return content;
  return typeof content === 'object' && content !== null ? Reflect.get(content, part) : undefined;
}

function unknownField(key: string): string {
  const known = REGISTRY_FIELDS.map((field) => field.key);
  const guess = nearest(key, known)?.slice('registries[].'.length);
  return guess === undefined ? 'there is no such key; remove it' : `there is no such key; did you mean ${guess}?`;
}
