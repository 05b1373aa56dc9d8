import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Dashboard, Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';

const PATH = fileURLToPath(new URL('../../charts/windlass/dashboards/windlass.json', import.meta.url));

/** The chart's Grafana dashboard, as committed. */
export async function readDashboard(): Promise<{ readonly text: string; readonly dashboard: Dashboard }> {
  const text = await readFile(PATH, 'utf8');
  return { text, dashboard: JSON.parse(text) as Dashboard };
}

/** Without the titles of rows. */
export function panelsOf(dashboard: Dashboard): readonly Panel[] {
  return (dashboard.panels ?? []).filter((panel): panel is Panel => !isRow(panel));
}

export function queriesOf(panel: Panel): readonly Dataquery[] {
  return (panel.targets ?? []) as Dataquery[];
}

function isRow(panel: Panel | RowPanel): panel is RowPanel {
  return panel.type === 'row';
}
