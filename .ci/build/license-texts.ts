import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const NAMES = /^(?:licen[cs]e|notice|copying)/i;

/** What the licences ask to be passed on with a bundle: their texts. A package without one is named with its licence. */
export async function licenseTexts(root: string, folders: readonly string[]): Promise<string> {
  const texts: string[] = [];
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'));
    const files = (await readdir(join(root, folder))).filter((file) => NAMES.test(file)).sort();
    const own = await Promise.all(files.map((file) => readFile(join(root, folder, file), 'utf8')));
    texts.push([`== ${name} ${version}: ${license}`, ...own.map((text) => text.trim())].join('\n\n'));
  }
  return `${texts.join('\n\n')}\n`;
}
