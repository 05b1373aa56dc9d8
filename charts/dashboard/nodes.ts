import { type Column, type GraphOptions, graph, table } from './panels.ts';
import { byAgent, ofNodes } from './selectors.ts';

const grown = (metric: string) => byAgent('sum', `increase(${ofNodes(metric)}[$__range])`);
const now = (metric: string) => byAgent('max', ofNodes(metric));

const COLUMNS: readonly Column[] = [
  { title: 'serves', unit: 'bool_yes_no', expr: now('windlass_ready') },
  { title: 'peers', unit: 'short', expr: now('windlass_peers') },
  { title: 'sent to runtimes', unit: 'bytes', expr: grown('windlass_mirror_response_bytes_total') },
  { title: 'from registries', unit: 'bytes', expr: grown('windlass_upstream_received_bytes_total') },
  { title: 'from peers', unit: 'bytes', expr: grown('windlass_peer_received_bytes_total') },
  { title: 'to peers', unit: 'bytes', expr: grown('windlass_peer_sent_bytes_total') },
  { title: 'ingests', unit: 'short', expr: now('windlass_ingests_running') },
  { title: 'blobs', unit: 'short', expr: now('windlass_store_blobs') },
  { title: 'store', unit: 'bytes', expr: now('windlass_store_bytes') },
  {
    title: 'of its quota',
    unit: 'percentunit',
    expr: `${now('windlass_store_bytes')} / ${now('windlass_store_max_bytes')}`,
  },
  { title: 'evicted', unit: 'bytes', expr: grown('windlass_store_evicted_bytes_total') },
  { title: 'blamed others', unit: 'short', expr: grown('windlass_peer_blamed_total') },
  {
    title: 'up for',
    unit: 's',
    expr: `time() - ${now('process_start_time_seconds')}`,
  },
];

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Processor',
    description: 'Cores in use.',
    unit: 'short',
    width: 8,
    series: { '{{instance}}': byAgent('sum', `rate(${ofNodes('process_cpu_seconds_total')}[$__rate_interval])`) },
  },
  {
    title: 'Memory',
    description: 'Resident, as a share of what the process may have.',
    unit: 'percentunit',
    width: 8,
    series: {
      '{{instance}}': `${now('process_resident_memory_bytes')} / ${now('windlass_memory_limit_bytes')}`,
    },
  },
  {
    title: 'Event loop, p99',
    description: 'How late it is. Half a second and more, and others take the agent for dead.',
    unit: 's',
    width: 8,
    series: { '{{instance}}': now('nodejs_eventloop_lag_p99_seconds') },
  },
];

const TABLE = {
  title: 'Nodes',
  description: 'Sums are of the time shown. Who fetches for others has much from registries: that is as it should be.',
  width: 24,
  labels: {
    expr: byAgent('max', ofNodes('windlass_agent_info'), ['node_name', 'zone', 'version']),
    titles: {
      node_name: 'node',
      instance: 'instance',
      zone: 'zone',
      version: 'version',
      namespace: 'namespace',
      cluster: 'cluster',
    },
  },
  columns: COLUMNS,
};

export const nodes = () => [table(TABLE), ...GRAPHS.map(graph)];
