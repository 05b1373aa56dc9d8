import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { systemCode } from '../errors.ts';
import { type Fault, nearest } from './fault.ts';
import type { Given, Source } from './given.ts';
import { findSetting, SECTIONS, SETTING_KEYS } from './setting-keys.ts';

/** Reads a YAML file of settings. What is wrong in it is returned, with its line, never thrown. */
export async function readConfigFile(name: string, cwd: string): Promise<Source> {
  let text: string;
  try {
    text = await readFile(resolve(cwd, name), 'utf8');
  } catch (error) {
    const reason = systemCode(error);
    if (reason === undefined) throw error;
    return failed({ key: 'config', origin: undefined, value: name, right: `name a file that can be read (${reason})` });
  }
  return new ConfigFile(name, text).read();
}

function failed(...faults: Fault[]): Source {
  return { given: new Map(), faults };
}

class ConfigFile {
  readonly #name: string;
  readonly #lines = new LineCounter();
  readonly #document: Document;
  readonly #given = new Map<string, Given>();
  readonly #faults: Fault[] = [];

  constructor(name: string, text: string) {
    this.#name = name;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: true });
  }

  read(): Source {
    for (const error of this.#document.errors) {
      const right =
        error.code === 'DUPLICATE_KEY' ? 'the same key stands here a second time; keep one' : firstLine(error.message);
      this.#faults.push({ key: 'config', origin: this.#at(error.pos[0]), right });
    }
    if (this.#faults.length > 0) return failed(...this.#faults);

    let content: unknown;
    try {
      content = this.#document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      // The parser's defence against aliases of aliases.
      if (!(error instanceof ReferenceError)) throw error;
      return failed({ key: 'config', origin: this.#name, right: error.message });
    }
    if (content === null) return failed();
    if (!isRecord(content)) {
      return failed({
        key: 'config',
        origin: this.#name,
        value: content,
        right: 'write a map, as in store: { path: /data }',
      });
    }
    this.#section(content, []);
    return { given: this.#given, faults: this.#faults };
  }

  #section(content: Readonly<Record<string, unknown>>, path: readonly string[]): void {
    for (const [name, value] of Object.entries(content)) {
      const here = [...path, name];
      const key = here.join('.');
      const origin = this.#lineOf(here);
      if (path.length + 1 === findSetting(key)?.path.length) {
        if (value === null) this.#faults.push({ key, origin, right: 'give it a value, or leave it out' });
        else this.#given.set(key, { value, origin });
      } else if (SECTIONS.includes(key) && !name.includes('.')) {
        if (isRecord(value)) this.#section(value, here);
        else if (value !== null) {
          this.#faults.push({ key, origin, value, right: `write its settings below it: ${below(key)}` });
        }
      } else {
        this.#faults.push({ key, origin, value, right: unknownKey(key, name) });
      }
    }
  }

  /** `windlass.yaml:12`, the line of a key; the file alone where the document is reached through an alias. */
  #lineOf(path: readonly string[]): string {
    let node: unknown = this.#document.contents;
    let position: number | undefined;
    for (const name of path) {
      const pair = isMap(node)
        ? node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === name)
        : undefined;
      if (pair === undefined) return this.#name;
      position = isScalar(pair.key) ? pair.key.range?.[0] : undefined;
      node = pair.value;
    }
    return this.#at(position);
  }

  #at(position: number | undefined): string {
    return position === undefined ? this.#name : `${this.#name}:${this.#lines.linePos(position).line}`;
  }
}

function unknownKey(key: string, name: string): string {
  if (name.includes('.') && (findSetting(name) !== undefined || SECTIONS.includes(name))) {
    const path = name.split('.');
    return `there is no such key; nest it: ${path.join(': { ')}: …${' }'.repeat(path.length - 1)}`;
  }
  const guess = nearest(key, [...SETTING_KEYS.map((setting) => setting.key), ...SECTIONS]);
  return guess === undefined
    ? 'there is no such setting; remove it'
    : `there is no such setting; did you mean ${guess}?`;
}

function below(section: string): string {
  const names = SETTING_KEYS.filter(({ key }) => key.startsWith(`${section}.`)).map(
    ({ key }) => key.slice(section.length + 1).split('.', 1)[0],
  );
  return [...new Set(names)].join(', ');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
