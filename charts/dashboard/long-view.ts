import { type GraphOptions, graph } from './panels.ts';
import { ofCluster } from './selectors.ts';

const RECORDED = 'Recorded by recording.rules.yaml; empty without it, and for the time before. Of all agents together.';

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Hit rate by bytes, of the day before',
    description: `Share of the bytes sent to container runtimes that did not have to come from a registry. ${RECORDED}`,
    unit: 'percentunit',
    width: 12,
    max: 1,
    series: { '{{job}}': ofCluster('job:windlass_byte_hits:ratio_increase1d') },
  },
  {
    title: 'Bytes of the day before',
    description: `Sent to container runtimes, received from registries, and the difference. ${RECORDED}`,
    unit: 'bytes',
    width: 12,
    series: {
      '{{job}} sent': ofCluster('job:windlass_mirror_response_bytes:increase1d'),
      '{{job}} from registries': ofCluster('job:windlass_upstream_received_bytes:increase1d'),
      '{{job}} saved': `clamp_min(${ofCluster('job:windlass_saved_bytes:increase1d')}, 0)`,
    },
  },
];

export const longView = () => GRAPHS.map(graph);
