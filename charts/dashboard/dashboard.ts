import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { hitRates } from './hit-rates.ts';
import { longView } from './long-view.ts';
import { nodes } from './nodes.ts';
import { DATASOURCE } from './panels.ts';
import { requests } from './requests.ts';
import { store } from './store.ts';
import { swarm } from './swarm.ts';
import { waitingTimes } from './waiting-times.ts';

interface Positioned extends Builder<Panel> {
  id(id: number): unknown;
}

/** Top to bottom. */
const ROWS: readonly { readonly title: string; readonly panels: () => readonly Positioned[] }[] = [
  { title: 'What it saves', panels: hitRates },
  { title: 'How long pulls wait', panels: waitingTimes },
  { title: 'Agents together', panels: swarm },
  { title: 'Store', panels: store },
  { title: 'Runtimes and registries', panels: requests },
  { title: 'Nodes', panels: nodes },
  { title: 'Over weeks', panels: longView },
];

/** The values that a label of agents has, of those that the variables `within` choose. */
function labelVariable(
  name: string,
  title: string,
  within: readonly string[],
  label: string = name,
): QueryVariableBuilder {
  const matchers = within.map((chosen) => `${chosen === 'node' ? 'node_name' : chosen}=~"$${chosen}"`);
  const query = `label_values(windlass_agent_info{${matchers.join(',')}}, ${label})`;
  return new QueryVariableBuilder(name)
    .label(title)
    .datasource(DATASOURCE)
    .query({ qryType: 1, query, refId: `variable-${name}` })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc)
    .multi(true)
    .includeAll(true)
    .current({ selected: true, text: ['All'], value: ['$__all'] });
}

/**
 * The Grafana dashboard, of the queries that are run against a real Prometheus in test/integration/dashboard.test.ts.
 * Built by Grafana's own foundation SDK, whose types are made from the schemas that Grafana publishes (dashboard, panels,
 * Prometheus queries), so `npm run check` holds the JSON to them; the strict decoder of the same SDK in Go (0.0.22), tried
 * once, found nothing unknown or missing. Grafana itself could not be had where this was written: it has not been seen to
 * load it.
 */
function buildDashboard(): Dashboard {
  const builder = new DashboardBuilder('Windlass')
    .uid('windlass')
    .description('A registry mirror on every node: what it saves, how long pulls wait, and how the agents are.')
    .tags(['windlass', 'registry', 'kubernetes'])
    .editable()
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: 'now-6h', to: 'now' })
    .refresh('1m')
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    // `.*` finds those without the label as well: a Prometheus of one cluster has no label `cluster`.
    .withVariable(labelVariable('cluster', 'Cluster', []).allValue('.*'))
    .withVariable(labelVariable('namespace', 'Namespace', ['cluster']).allValue('.*'))
    .withVariable(labelVariable('job', 'Job', ['cluster', 'namespace']).allValue('.*'))
    // By name; what the queries take are the addresses of the nodes that are chosen here.
    .withVariable(labelVariable('node', 'Node', ['cluster', 'namespace', 'job'], 'node_name').allValue('.*'))
    .withVariable(labelVariable('instance', 'Instance', ['cluster', 'namespace', 'job', 'node']));
  let id = 0;
  const nextId = () => {
    id += 1;
    return id;
  };
  for (const { title, panels } of ROWS) {
    builder.withRow(new RowBuilder(title).id(nextId()));
    for (const panel of panels()) {
      panel.id(nextId());
      builder.withPanel(panel);
    }
  }
  return builder.build();
}

/** As it is committed. */
export function renderDashboard(): string {
  return `${JSON.stringify(buildDashboard(), null, 2)}\n`;
}
