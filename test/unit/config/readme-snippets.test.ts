import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadSettings } from '../../../src/config/load-settings.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-readme-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
/** What begins otherwise is none of ours: rules of a Role. */
const snippets = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)]
  .map(([, text = '']) => text)
  .filter((text) => !text.startsWith('rules:'));

test('there are settings for containerd, for three machines, for a DNS name, for Kubernetes, and for registries', () => {
  expect(snippets.map((text) => /^(?:#.*\n)?(\w+)/.exec(text)?.[1])).toEqual([
    'containerd',
    'cluster',
    'discovery',
    'discovery',
    'store',
  ]);
});

test.each(snippets)('settings that the README shows are right: %#', async (text) => {
  const file = join(folder, 'windlass.yaml');
  await writeFile(file, text);
  // A snippet about discovery alone goes with the secret of the one before.
  const secret = text.includes('cluster:') ? [] : ['--cluster.secret-file=secret'];
  const flags = ['--config', file, ...secret, ...(text.includes('path:') ? [] : [`--store.path=${folder}`])];
  await expect(loadSettings({ flags, env: {}, cwd: folder })).resolves.toBeDefined();
});

test('flags and settings that the text names exist', async () => {
  const { SETTING_KEYS } = await import('../../../src/config/setting-keys.ts');
  const sections = new Set(SETTING_KEYS.map(({ path }) => path[0]));
  const named = [...readme.matchAll(/`([a-z0-9]+(?:\.[a-zA-Z0-9]+)+)(?:: [^`]*)?`/g)].map(([, key = '']) => key);
  const unknown = named.filter((key) => {
    const [section = ''] = key.split('.');
    return sections.has(section) && !/\.(ts|yaml|toml|json)$/.test(key) && !SETTING_KEYS.some((one) => one.key === key);
  });
  expect(unknown).toEqual([]);
  expect(named.length).toBeGreaterThan(60);
});

test('metrics that the text names exist', async () => {
  const { Metrics } = await import('../../../src/metrics/metrics.ts');
  const known = (await new Metrics().registry.getMetricsAsJSON()).map(({ name }) => name);
  const named = new Set([...readme.matchAll(/windlass_[a-z0-9_]+/g)].map(([name]) => name.replace(/_bucket$/, '')));
  expect([...named].filter((name) => name !== 'windlass_' && !known.includes(name))).toEqual([]);
});
