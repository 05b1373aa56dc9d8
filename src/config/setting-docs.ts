import { z } from 'zod';

export interface SettingDoc {
  /** Markdown; one or two sentences. */
  readonly help: string;
  /** The default as a person would write it, where the schema's own does not say it. */
  readonly shownDefault?: string;
}

/** What is said about a setting, kept beside its schema. */
export const settingDocs = z.registry<SettingDoc>();

export function documented<T extends z.ZodType>(schema: T, help: string, shownDefault?: string): T {
  settingDocs.add(schema, shownDefault === undefined ? { help } : { help, shownDefault });
  return schema;
}
