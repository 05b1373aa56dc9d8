import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { withSettingsTable } from '../../../src/config/readme-table.ts';
import { findSetting, REGISTRY_FIELDS, SETTING_KEYS } from '../../../src/config/setting-keys.ts';

test("the README's table of settings is the one that the schema gives", async () => {
  const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
  expect(readme === withSettingsTable(readme), 'out of date: npm run docs').toBe(true);
});

test('only what is between the markers is written', () => {
  const begin = '<!-- settings:begin -->';
  const end = '<!-- settings:end -->';
  const written = withSettingsTable(`before\n${begin}\noutdated\n${end}\nafter\n`);
  expect(written.startsWith(`before\n${begin}\n| Setting |`)).toBe(true);
  expect(written.endsWith(`|\n${end}\nafter\n`)).toBe(true);
  expect(written).not.toContain('outdated');
  expect(() => withSettingsTable('no markers')).toThrow('settings:begin');
});

test('every setting has a flag, a variable and a key of its own, by one rule', () => {
  expect(findSetting('store.maxSize')).toMatchObject({
    flag: '--store.max-size',
    variable: 'WINDLASS_STORE_MAX_SIZE',
    shownDefault: '20GiB',
    form: { name: 'size' },
  });
  for (const field of ['key', 'flag', 'variable'] as const) {
    expect(new Set(SETTING_KEYS.map((setting) => setting[field])).size).toBe(SETTING_KEYS.length);
  }
});

test('everything in the table explains itself in a sentence', () => {
  for (const { key, help } of [...SETTING_KEYS, ...REGISTRY_FIELDS]) expect(help, key).toMatch(/\S.*[.)*]$/);
});
