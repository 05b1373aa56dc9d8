import { type GraphOptions, graph } from './panels.ts';
import { ofNodes, quantileOf } from './selectors.ts';

const QUANTILES = { p50: 0.5, p90: 0.9, p99: 0.99 };

function ofEach(options: Omit<GraphOptions, 'series' | 'unit' | 'width'>, histogram: string): GraphOptions[] {
  return Object.entries(QUANTILES).map(([name, share]) => ({
    ...options,
    title: `${options.title}, ${name}`,
    unit: 's',
    width: 8,
    series: { '{{source}}': quantileOf(share, ofNodes(histogram), ['source']) },
  }));
}

const GRAPHS: readonly GraphOptions[] = [
  ...ofEach(
    {
      title: 'First byte',
      description: 'From the request of a container runtime to the first byte sent to it, by source.',
    },
    'windlass_mirror_first_byte_seconds_bucket',
  ),
  ...ofEach(
    { title: 'Whole blobs', description: 'From the request for a blob to its last byte, by source.' },
    'windlass_mirror_blob_seconds_bucket',
  ),
  {
    title: 'Requests, p90 by kind',
    description: 'From the request to the end of the answer, HEAD and refusals included.',
    unit: 's',
    width: 12,
    series: { '{{kind}}': quantileOf(0.9, ofNodes('windlass_mirror_request_duration_seconds_bucket'), ['kind']) },
  },
  {
    title: "Registries' first byte, p90",
    description: 'From sending a request to a registry to the headers of its answer.',
    unit: 's',
    width: 12,
    series: { '{{registry}}': quantileOf(0.9, ofNodes('windlass_upstream_first_byte_seconds_bucket'), ['registry']) },
  },
];

export const waitingTimes = () => GRAPHS.map(graph);
