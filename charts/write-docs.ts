/** Brings what is generated of the chart up to date: values.schema.json and the table in its README. `npm run docs`. */
import { readFile, writeFile } from 'node:fs/promises';
import { valuesSchema } from './values-schema.ts';
import { withValuesTable } from './values-table.ts';

const chart = (name: string) => new URL(`windlass/${name}`, import.meta.url);
const values = await readFile(chart('values.yaml'), 'utf8');
await writeFile(chart('README.md'), withValuesTable(await readFile(chart('README.md'), 'utf8'), values));
await writeFile(chart('values.schema.json'), `${JSON.stringify(valuesSchema(), undefined, 2)}\n`);
