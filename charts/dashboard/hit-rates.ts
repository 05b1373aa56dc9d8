import { type GraphOptions, graph, type StatOptions, stat } from './panels.ts';
import { increaseOf, ofCluster, ofNodes, rateOf } from './selectors.ts';

const SERVED = ofCluster('windlass_mirror_response_bytes_total');
const RECEIVED = ofCluster('windlass_upstream_received_bytes_total');
const ANSWERS = ofNodes('windlass_mirror_requests_total', 'code=~"2.."', 'source!="none"');
const FROM_UPSTREAM = ofNodes('windlass_mirror_requests_total', 'code=~"2.."', 'source="upstream"');

const OF_A_CLUSTER = 'Of all agents together, whatever node is chosen: one may fetch for all the others.';

const STATS: readonly StatOptions[] = [
  {
    title: 'Hit rate, bytes',
    description: `Share of the bytes sent to container runtimes that did not have to come from a registry, in the time shown. ${OF_A_CLUSTER}`,
    unit: 'percentunit',
    width: 4,
    expr: `clamp_min(1 - ${increaseOf(RECEIVED, [], '$__range')} / (${increaseOf(SERVED, [], '$__range')} > 0), 0)`,
    instant: true,
  },
  {
    title: 'Hit rate, requests',
    description: 'Share of the answers for which no registry was asked, in the time shown.',
    unit: 'percentunit',
    width: 4,
    expr: `1 - ${increaseOf(FROM_UPSTREAM, [], '$__range')} / (${increaseOf(ANSWERS, [], '$__range')} > 0)`,
    instant: true,
  },
  {
    title: 'Bytes saved',
    description: `Sent to container runtimes less what registries sent, in the time shown. ${OF_A_CLUSTER}`,
    unit: 'bytes',
    width: 4,
    expr: `clamp_min(${increaseOf(SERVED, [], '$__range')} - ${increaseOf(RECEIVED, [], '$__range')}, 0)`,
    instant: true,
  },
  {
    title: 'From registries',
    description: 'Bytes that registries sent, in the time shown.',
    unit: 'bytes',
    width: 4,
    expr: increaseOf(ofNodes('windlass_upstream_received_bytes_total'), [], '$__range'),
    instant: true,
  },
  {
    title: 'Agents that serve',
    description: 'Agents whose mirror is ready.',
    unit: 'short',
    width: 4,
    expr: `sum(${ofNodes('windlass_ready')})`,
  },
  {
    title: 'Live ingests',
    description: 'Blobs that are on their way in now.',
    unit: 'short',
    width: 4,
    expr: `sum(${ofNodes('windlass_ingests_running')})`,
  },
];

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Hit rate',
    description: `No line: nothing was asked. Bytes: ${OF_A_CLUSTER.toLowerCase()}`,
    unit: 'percentunit',
    width: 8,
    max: 1,
    series: {
      bytes: `clamp_min(1 - ${rateOf(RECEIVED)} / (${rateOf(SERVED)} > 0), 0)`,
      requests: `1 - ${rateOf(FROM_UPSTREAM)} / (${rateOf(ANSWERS)} > 0)`,
    },
  },
  {
    title: 'Where the bytes came from',
    description:
      'Sent to container runtimes. store: it was held; ingest: another request had begun to fetch it; peer: this request did, from another agent; upstream: from the registry; content: from containerd itself.',
    unit: 'binBps',
    width: 8,
    stacked: true,
    series: { '{{source}}': rateOf(ofNodes('windlass_mirror_response_bytes_total', 'source!="none"'), ['source']) },
  },
  {
    title: 'From registries, and saved',
    description: `What registries sent, by registry, and what did not have to come from them. Saved: ${OF_A_CLUSTER.toLowerCase()}`,
    unit: 'binBps',
    width: 8,
    series: {
      '{{registry}}': `${rateOf(ofNodes('windlass_upstream_received_bytes_total'), ['registry'])} > 0`,
      saved: `clamp_min(${rateOf(SERVED)} - ${rateOf(RECEIVED)}, 0)`,
    },
  },
];

export const hitRates = () => [...STATS.map(stat), ...GRAPHS.map(graph)];
