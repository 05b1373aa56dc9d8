import { z } from 'zod';
import { registryFields } from './registry-entry.ts';
import { settingDocs } from './setting-docs.ts';
import { type Form, forms } from './setting-types.ts';
import { settingsSchema } from './settings.ts';

/** One setting, as everything outside the schema knows it. */
export interface SettingKey {
  /** `store.maxSize` */
  readonly key: string;
  readonly path: readonly string[];
  /** `--store.max-size` */
  readonly flag: string;
  /** `WINDLASS_STORE_MAX_SIZE` */
  readonly variable: string;
  readonly form: Form;
  readonly help: string;
  /** As it would be written in a flag. */
  readonly shownDefault: string;
}

/** A field of an entry of `registries`: `registries[].endpoint`. It has neither flag nor variable. */
export type EntryField = Pick<SettingKey, 'key' | 'form' | 'help'>;

export const SETTING_KEYS: readonly SettingKey[] = leaves(settingsSchema, []).map(([path, schema]) =>
  settingKey(path, schema),
);

/** `node`, `store`, `discovery`, `discovery.dns`, …: what holds settings and is none itself; the outer first. */
export const SECTIONS: readonly string[] = [
  ...new Set(SETTING_KEYS.flatMap(({ path }) => path.slice(1).map((_, depth) => path.slice(0, depth + 1).join('.')))),
];

export const REGISTRY_FIELDS: readonly EntryField[] = fieldsOf(registryFields, 'registries[]');

export function findSetting(key: string): SettingKey | undefined {
  return SETTING_KEYS.find((setting) => setting.key === key);
}

function settingKey(path: readonly string[], schema: z.ZodType): SettingKey {
  const words = path.map((part) => part.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
  return {
    key: path.join('.'),
    path,
    flag: `--${words.join('.')}`,
    variable: `WINDLASS_${words.join('_').replaceAll('-', '_').toUpperCase()}`,
    form: formOf(schema),
    help: helpOf(schema),
    shownDefault: settingDocs.get(schema)?.shownDefault ?? shownDefault(schema),
  };
}

function leaves(schema: z.ZodObject, path: readonly string[]): [path: readonly string[], schema: z.ZodType][] {
  return Object.entries(schema.shape).flatMap(([name, field]): [readonly string[], z.ZodType][] => {
    const here = [...path, name];
    return field instanceof z.ZodObject ? leaves(field, here) : [[here, field as z.ZodType]];
  });
}

function fieldsOf(schema: z.ZodObject, parent: string): EntryField[] {
  return Object.entries(schema.shape).flatMap(([name, field]): EntryField[] => {
    const key = `${parent}.${name}`;
    const inner = unwrap(field as z.ZodType);
    const below = inner instanceof z.ZodObject ? fieldsOf(inner, key) : [];
    return [{ key, form: formOf(field as z.ZodType), help: helpOf(field as z.ZodType) }, ...below];
  });
}

function unwrap(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema;
}

function formOf(schema: z.ZodType): Form {
  return forms.get(unwrap(schema)) ?? { name: 'object', decode: 'text' };
}

function helpOf(schema: z.ZodType): string {
  const doc = settingDocs.get(schema);
  if (doc === undefined) throw new Error('a setting without help');
  return doc.help;
}

function shownDefault(schema: z.ZodType): string {
  const standard = schema instanceof z.ZodPrefault ? schema.def.defaultValue : '';
  return Array.isArray(standard) ? standard.join(', ') : String(standard);
}
