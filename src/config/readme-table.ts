import { REGISTRY_FIELDS, SETTING_KEYS } from './setting-keys.ts';

const BEGIN = '<!-- settings:begin -->';
const END = '<!-- settings:end -->';

/** The settings as Markdown: one table of all, one of the fields of an entry of `registries`. */
function settingsTable(): string {
  const settings = SETTING_KEYS.map(({ key, form, shownDefault, flag, variable, help }) => [
    code(key),
    form.name,
    markDefault(shownDefault),
    `${code(flag)}<br>${code(variable)}`,
    help,
  ]);
  const fields = REGISTRY_FIELDS.map(({ key, form, help }) => [
    code(key.replace('registries[].', '')),
    form.name,
    help,
  ]);
  return [
    table(['Setting', 'Type', 'Default', 'Flag and variable', 'Meaning'], settings),
    'An entry of `registries`:',
    table(['Field', 'Type', 'Meaning'], fields),
  ].join('\n\n');
}

/**
 * The README with its settings up to date; everything outside the markers stays as it is.
 * @throws Error if the markers are missing.
 */
export function withSettingsTable(readme: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`the README lacks ${BEGIN} and ${END}`);
  return `${readme.slice(0, begin + BEGIN.length)}\n${settingsTable()}\n${readme.slice(end)}`;
}

/** What somebody could write is code, item by item; a phrase that describes the default is not. */
function markDefault(shown: string): string {
  if (shown === '') return 'none';
  const items = shown.split(', ');
  return items.some((item) => item.includes(' ')) ? shown : items.map(code).join(', ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(cell).join(' | ')} |`).join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function code(text: string): string {
  return `\`${text}\``;
}
