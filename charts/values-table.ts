import { isMap, type Pair, parseDocument, type YAMLMap } from 'yaml';

const BEGIN = '<!-- values:begin -->';
const END = '<!-- values:end -->';

interface Value {
  /** `image.tag` */
  readonly key: string;
  readonly value: unknown;
  /** Markdown. */
  readonly help: string;
}

/** Every value that has a comment `# --`; below one that has none, those that do. @throws Error: nothing says what it is */
export function documentedValues(valuesYaml: string): readonly Value[] {
  const { contents } = parseDocument(valuesYaml);
  if (!isMap(contents)) throw new Error('values.yaml is no map');
  return valuesIn(contents, '');
}

/**
 * The chart's README with its values up to date; everything outside the markers stays as it is.
 * @throws Error if the markers are missing.
 */
export function withValuesTable(readme: string, valuesYaml: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`the chart's README lacks ${BEGIN} and ${END}`);
  const rows = documentedValues(valuesYaml).map(({ key, value, help }) => [`\`${key}\``, `\`${shown(value)}\``, help]);
  const table = [['Value', 'Default', 'Meaning'], ['---', '---', '---'], ...rows]
    .map((cells) => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
  return `${readme.slice(0, begin + BEGIN.length)}\n${table}\n${readme.slice(end)}`;
}

function valuesIn(map: YAMLMap, parent: string): Value[] {
  return map.items.flatMap((pair, index) => {
    const key = `${parent}${pair.key}`;
    const help = helpOf(pair, index === 0 ? map.commentBefore : undefined);
    if (help !== undefined) return [{ key, value: defaultOf(pair), help }];
    if (isMap(pair.value)) return valuesIn(pair.value, `${key}.`);
    throw new Error(`values.yaml: ${key} has no comment`);
  });
}

/** The comment of a map's first key is the map's, for the parser. */
function helpOf(pair: Pair, comment: string | null | undefined): string | undefined {
  const key = pair.key as { commentBefore?: string | null };
  const lines = (key.commentBefore ?? comment ?? '').split('\n').map((line) => line.trim());
  const start = lines.findIndex((line) => line.startsWith('-- '));
  return start === -1 ? undefined : lines.slice(start).join(' ').slice('-- '.length);
}

function defaultOf(pair: Pair): unknown {
  const value = pair.value as { toJSON?: () => unknown } | null;
  return value?.toJSON?.() ?? null;
}

function shown(value: unknown): string {
  return JSON.stringify(value);
}
