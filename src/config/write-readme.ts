/** Brings the settings in README.md up to date: `npm run docs`. Not in the package. */
import { readFile, writeFile } from 'node:fs/promises';
import { withSettingsTable } from './readme-table.ts';

const readme = new URL('../../README.md', import.meta.url);
await writeFile(readme, withSettingsTable(await readFile(readme, 'utf8')));
