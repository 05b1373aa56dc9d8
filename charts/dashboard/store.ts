import { type GraphOptions, graph } from './panels.ts';
import { AGENT, increaseOf, ofNodes, rateOf } from './selectors.ts';

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Store',
    description: 'Committed blobs, unfinished ones with what is reserved for them, and the quotas, of all nodes shown.',
    unit: 'bytes',
    width: 8,
    series: {
      blobs: `sum(${ofNodes('windlass_store_bytes')})`,
      unfinished: `sum(${ofNodes('windlass_store_ingest_bytes')})`,
      quota: `sum(${ofNodes('windlass_store_max_bytes')})`,
    },
  },
  {
    title: 'Evicted',
    description: 'Bytes deleted to make room. More within hours than is held: the store is too small.',
    unit: 'binBps',
    width: 8,
    series: { '{{instance}}': rateOf(ofNodes('windlass_store_evicted_bytes_total'), AGENT) },
  },
  {
    title: 'Faults of the store',
    description:
      'Blobs for which there was no room, that rotted on the disk, or whose bytes were wrong; files that could not be deleted.',
    unit: 'short',
    width: 8,
    series: {
      'not kept': increaseOf(ofNodes('windlass_store_pass_through_total')),
      rotted: increaseOf(ofNodes('windlass_store_corrupt_blobs_total')),
      'wrong bytes from {{source}}': increaseOf(ofNodes('windlass_verification_failures_total'), ['source']),
      'not deleted': increaseOf(ofNodes('windlass_store_delete_failures_total')),
    },
  },
];

export const store = () => GRAPHS.map(graph);
