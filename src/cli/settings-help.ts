import { SETTING_KEYS } from '../config/setting-keys.ts';

const WIDTH = 100;
const INDENT = ' '.repeat(6);

/** All settings as flags, for `windlass agent --help`. */
export function settingsHelp(): string {
  const entries = SETTING_KEYS.map(({ flag, form, help, shownDefault }) => {
    const standard = shownDefault === '' ? '' : ` Default: ${shownDefault}.`;
    return `  ${flag} <${form.name}>\n${wrap(plain(help) + standard)}`;
  });
  return `Settings:
  Each also as a variable (--store.max-size is WINDLASS_STORE_MAX_SIZE) and in the file (store: { maxSize }).
  Flag over variable over file over default. Lists: between commas, as JSON, or by repeating the flag.

  --config <path>
${INDENT}A YAML file of settings; also WINDLASS_CONFIG.
${entries.join('\n')}
`;
}

/** Without the marks of Markdown. */
function plain(markdown: string): string {
  return markdown.replace(/\*\*|`/g, '');
}

function wrap(text: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && INDENT.length + line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line) => INDENT + line).join('\n');
}
