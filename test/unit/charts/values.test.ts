import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { valuesSchema } from '../../../charts/values-schema.ts';
import { documentedValues, withValuesTable } from '../../../charts/values-table.ts';
import { SETTING_KEYS } from '../../../src/config/setting-keys.ts';
import { OTHER_VALUES } from '../../support/chart-values.ts';

const chart = (name: string) => readFile(new URL(`../../../charts/windlass/${name}`, import.meta.url), 'utf8');

interface Schema {
  readonly additionalProperties?: false;
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** `image.tag`, … : the keys of a schema that takes no others. */
function keysOf({ additionalProperties, properties }: Schema, parent: string): string[] {
  if (additionalProperties !== false) return [parent];
  return Object.entries(properties ?? {}).flatMap(([name, schema]) =>
    keysOf(schema, parent === '' ? name : `${parent}.${name}`),
  );
}

test("the table in the chart's README and values.schema.json are those that are generated", async () => {
  const readme = await chart('README.md');
  expect(readme === withValuesTable(readme, await chart('values.yaml')), 'out of date: npm run docs').toBe(true);
  const schema = `${JSON.stringify(valuesSchema(), undefined, 2)}\n`;
  expect((await chart('values.schema.json')) === schema, 'out of date: npm run docs').toBe(true);
});

test('every value is in the schema, and nothing else is', async () => {
  const documented = documentedValues(await chart('values.yaml')).map(({ key }) => key);
  const config = (key: string) => key === 'config' || key.startsWith('config.');
  const inSchema = keysOf(valuesSchema(), '').filter((key) => key !== 'global');
  expect(inSchema.filter((key) => !config(key)).sort()).toEqual(documented.filter((key) => !config(key)).sort());
});

test('below config is every setting of the agent, and nothing else', () => {
  const config = (valuesSchema() as Schema).properties?.config ?? {};
  expect(keysOf(config, '').sort()).toEqual(SETTING_KEYS.map(({ key }) => key).sort());
});

test('everything in the table explains itself in a sentence', async () => {
  for (const { key, help } of documentedValues(await chart('values.yaml'))) expect(help, key).toMatch(/\S.*[.)]$/);
});

test('a value that nobody has explained is refused, and only what is between the markers is written', () => {
  expect(() => documentedValues('image:\n  # -- Where it is.\n  repository: a\n  tag: b\n')).toThrow('image.tag');
  const values = '# A heading.\n\n# -- One\n# or the other: | or not.\na: [1]\nb:\n  # -- Below.\n  c: { d: null }\n';
  expect(documentedValues(values)).toEqual([
    { key: 'a', value: [1], help: 'One or the other: | or not.' },
    { key: 'b.c', value: { d: null }, help: 'Below.' },
  ]);
  const written = withValuesTable('before\n<!-- values:begin -->\nold\n<!-- values:end -->\nafter\n', values);
  expect(written).toMatch(/^before\n.*\n\| Value .*\n.*\n\| `a` \| `\[1\]` \| .* \\\| or not\. \|\n/);
  expect(written).toMatch(/\n<!-- values:end -->\nafter\n$/);
  expect(() => withValuesTable('no markers', values)).toThrow('values:begin');
});

test('the version of the chart is that of the package', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(parse(await chart('Chart.yaml'))).toMatchObject({ version, appVersion: version });
});

test('the tests change every value but those that switch on what others are for', async () => {
  const same = documentedValues(await chart('values.yaml')).filter(({ key, value }) => {
    const other = key.split('.').reduce((at: unknown, name) => (at as Record<string, unknown>)?.[name], OTHER_VALUES);
    return other === undefined || JSON.stringify(other) === JSON.stringify(value);
  });
  expect(same.map(({ key }) => key)).toEqual([
    'config',
    'configure.enabled',
    'serviceAccount.create',
    'rbac.create',
    'networkPolicy.enabled',
  ]);
});
