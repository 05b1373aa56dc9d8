import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { tryCommand } from '../support/commands.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { ALERTS_PATH, type Alert, RECORDING_PATH, readAlerts } from '../support/rule-files.ts';
import { Scratch } from '../support/scratch.ts';

const FOLDER = fileURLToPath(new URL('../rules/', import.meta.url));

interface RuleTests {
  readonly tests: readonly {
    readonly promql_expr_test: readonly {
      readonly expr: string;
      readonly exp_samples: readonly { readonly labels: string }[];
    }[];
  }[];
}

async function ruleTestPaths(): Promise<string[]> {
  return (await readdir(FOLDER)).filter((name) => name.endsWith('.yaml')).map((name) => join(FOLDER, name));
}

/** The labels of every alert that a rule test expects to fire, by its name. */
async function expectedToFire(): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  for (const path of await ruleTestPaths()) {
    const { tests } = parse(await readFile(path, 'utf8')) as RuleTests;
    const samples = tests.flatMap(({ promql_expr_test: queries }) => queries.flatMap(({ exp_samples }) => exp_samples));
    for (const { labels } of samples) {
      const name = /alertname="(\w+)"/.exec(labels)?.[1];
      if (name === undefined) continue;
      const seen = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label);
      found.set(name, new Set([...(found.get(name) ?? []), ...seen]));
    }
  }
  return found;
}

describeWith("the chart's rules and their tests", [commandsMissing('promtool')], () => {
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  it.each([ALERTS_PATH, RECORDING_PATH])('promtool check rules accepts %s', async (path) => {
    const { code, stdout, stderr } = await tryCommand('promtool', ['check', 'rules', path]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
    expect(code).toBe(0);
  });

  it('fire when they should, not when they should not, and resolve (promtool test rules)', async () => {
    const paths = await ruleTestPaths();
    const { code, stdout, stderr } = await tryCommand('promtool', ['test', 'rules', ...paths], { timeoutMs: 300_000 });
    expect(stderr).toBe('');
    expect(stdout.match(/SUCCESS/g)).toHaveLength(paths.length);
    expect(code).toBe(0);
  }, 320_000);

  it('fails on a rule that never fires, so that it can be trusted', async () => {
    const folders = { rules: scratch.join('charts/windlass/files'), tests: scratch.join('test/rules') };
    for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true });
    const rules = await readFile(ALERTS_PATH, 'utf8');
    const blunt = rules.replace('min_over_time(windlass_upstream_queued_requests[15m]) > 0', 'vector(0) > 1');
    expect(blunt).not.toBe(rules);
    await writeFile(join(folders.rules, basename(ALERTS_PATH)), blunt);
    const tests = join(folders.tests, 'upstream.yaml');
    await writeFile(tests, await readFile(join(FOLDER, 'upstream.yaml')));

    const { code, stderr, stdout } = await tryCommand('promtool', ['test', 'rules', tests]);

    expect(stdout + stderr).toContain('WindlassUpstreamQueue');
    expect(code).not.toBe(0);
  });
});

describe("the chart's alerts", async () => {
  const alerts = await readAlerts();
  const fired = await expectedToFire();

  it('each have a rule test in which they fire', () => {
    expect([...fired.keys()].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it.each(alerts)('$alert says what it means, what to do, and names only labels that it has', (rule: Alert) => {
    expect(Object.keys(rule.annotations)).toEqual(['summary', 'description', 'runbook']);
    expect(['warning', 'info']).toContain(rule.labels.severity);
    const text = Object.values(rule.annotations).join(' ');
    for (const [, label = ''] of text.matchAll(/\$labels\.(\w+)/g)) expect(fired.get(rule.alert)).toContain(label);
    // The alerts that a runbook sends people to exist.
    for (const [name] of text.matchAll(/Windlass[A-Z]\w+/g)) expect(alerts.map(({ alert }) => alert)).toContain(name);
  });
});
