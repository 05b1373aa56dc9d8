import { type GraphOptions, graph } from './panels.ts';
import { increaseOf, ofNodes, rateOf } from './selectors.ts';

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Answers to container runtimes',
    description:
      'By status. 404: not there, or not to be read with what this agent may; the runtime goes on to the registry.',
    unit: 'reqps',
    width: 8,
    series: { '{{code}}': rateOf(ofNodes('windlass_mirror_requests_total'), ['code']) },
  },
  {
    title: 'Answers of registries',
    description: 'By registry and status; error: none came. 401 is how registries ask for a token.',
    unit: 'reqps',
    width: 8,
    series: { '{{registry}} {{status}}': rateOf(ofNodes('windlass_upstream_requests_total'), ['registry', 'status']) },
  },
  {
    title: 'Tags',
    description:
      'fresh: asked a moment ago; checked: the registry was asked; stale: it could not be, and the last known digest was served; missing, failed.',
    unit: 'ops',
    width: 8,
    series: { '{{result}}': rateOf(ofNodes('windlass_tag_lookups_total'), ['result']) },
  },
  {
    title: 'Trouble with registries',
    description:
      'Requests that wait for their turn, times that a registry asked to be left alone, blobs that were resumed, bodies that ended early.',
    unit: 'short',
    width: 24,
    series: {
      waiting: `sum(${ofNodes('windlass_upstream_queued_requests')})`,
      'left alone': increaseOf(ofNodes('windlass_upstream_pauses_total')),
      'resumed: {{reason}}': increaseOf(ofNodes('windlass_ingest_resumes_total'), ['reason']),
      'ended early': increaseOf(ofNodes('windlass_mirror_broken_responses_total')),
    },
  },
];

export const requests = () => GRAPHS.map(graph);
