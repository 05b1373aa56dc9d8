import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { beforeAll, describe, expect, it } from 'vitest';
import { renderDashboard } from '../../../charts/dashboard/dashboard.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { panelsOf, queriesOf, readDashboard } from '../../support/dashboard-file.ts';
import { readRecorded } from '../../support/rule-files.ts';

const GRID_WIDTH = 24;

describe("the chart's dashboard", () => {
  let text: string;
  let dashboard: Dashboard;

  beforeAll(async () => {
    ({ text, dashboard } = await readDashboard());
  });

  it('is what its source makes: npm run docs writes it', () => {
    expect(text === renderDashboard()).toBe(true);
    // Nothing from the internet.
    expect(text).not.toMatch(/https?:/);
  });

  it('asks only for metrics that an agent has', async () => {
    const known = new Set((await new Metrics().registry.getMetricsAsJSON()).map(({ name }) => name));
    const asked = panelsOf(dashboard).flatMap((panel) =>
      queriesOf(panel).flatMap(({ expr }) => expr.match(/(?<!:)\b(?:windlass|process|nodejs)_\w+/g) ?? []),
    );
    expect(asked.length).toBeGreaterThan(50);
    const unknown = asked.filter((name) => !known.has(name) && !known.has(name.replace(/_(?:bucket|count|sum)$/, '')));
    expect(unknown).toEqual([]);
  });

  it('shows all that is recorded, and nothing recorded that is not', async () => {
    const asked = panelsOf(dashboard).flatMap((panel) =>
      queriesOf(panel).flatMap(({ expr }) => expr.match(/\b\w+:windlass_\w+:\w+/g) ?? []),
    );
    expect(new Set(asked)).toEqual(new Set((await readRecorded()).map(({ record }) => record)));
  });

  it('has panels that fill the grid without covering each other, each with an id of its own and an explanation', () => {
    const all = dashboard.panels ?? [];
    const taken = new Set<string>();
    for (const { gridPos, title } of all) {
      if (gridPos === undefined) throw new Error(`${title} has no place`);
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(GRID_WIDTH);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken, `${title} covers another`).not.toContain(`${x},${y}`);
          taken.add(`${x},${y}`);
        }
      }
    }
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    for (const panel of panelsOf(dashboard)) expect(panel.description).toMatch(/\.$/);
  });

  it('takes its data source, job and nodes from variables, in every query', () => {
    expect(dashboard.templating.list?.map(({ name }) => name)).toEqual([
      'datasource',
      'cluster',
      'namespace',
      'job',
      'node',
      'instance',
    ]);
    for (const panel of panelsOf(dashboard)) {
      expect(panel.datasource).toEqual({ type: 'prometheus', uid: '$datasource' });
      for (const { expr } of queriesOf(panel)) {
        for (const [selector] of expr.matchAll(/[\w:]+\{[^}]*\}/g))
          expect(selector).toContain('cluster=~"$cluster",namespace=~"$namespace",job=~"$job"');
        expect(expr.match(/(?<!:)\b(?:windlass|process|nodejs)_[\w:]+(?![\w:]*\{)(?!\w)/g) ?? []).toEqual([]);
      }
    }
  });
});
