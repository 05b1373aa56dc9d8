import { type GraphOptions, graph } from './panels.ts';
import { increaseOf, ofCluster, ofNodes, rateOf } from './selectors.ts';

const GRAPHS: readonly GraphOptions[] = [
  {
    title: 'Ingests and transfers',
    description: 'Blobs being written, sent to other agents, and received from them, at the moment of the scrape.',
    unit: 'short',
    width: 8,
    series: {
      ingests: `sum(${ofNodes('windlass_ingests_running')})`,
      'sent to peers': `sum(${ofNodes('windlass_peer_uploads_running')})`,
      'received from peers': `sum(${ofNodes('windlass_peer_downloads_running')})`,
    },
  },
  {
    title: 'Ended ingests',
    description: 'committed: kept; passed: served without being kept, for want of room; failed.',
    unit: 'short',
    width: 8,
    series: { '{{result}}': increaseOf(ofNodes('windlass_ingests_total'), ['result']) },
  },
  {
    title: 'Between agents',
    description: 'Bytes of blobs received from other agents, by whether those are of the same zone.',
    unit: 'binBps',
    width: 8,
    stacked: true,
    series: { '{{zone}} zone': rateOf(ofNodes('windlass_peer_received_bytes_total'), ['zone']) },
  },
  {
    title: 'Peers',
    description: 'How many others the agents know. Where most and fewest differ for long, they do not agree.',
    unit: 'short',
    width: 8,
    series: {
      most: `max(${ofNodes('windlass_peers')})`,
      fewest: `min(${ofNodes('windlass_peers')})`,
      'scraped, less one': `count(${ofCluster('windlass_peers')}) - 1`,
    },
  },
  {
    title: 'Claims',
    description:
      'What agents were told who asked for the right to fetch: write (fetch it), read (from whom), bytes (here it is), failed; self: no keeper answered.',
    unit: 'ops',
    width: 8,
    series: { '{{answer}}': rateOf(ofNodes('windlass_claims_total'), ['answer']) },
  },
  {
    title: 'Takeovers',
    description: 'Another agent had to go on with a blob, by why the last writer lost the right.',
    unit: 'short',
    width: 8,
    series: { '{{reason}}': increaseOf(ofNodes('windlass_takeovers_total'), ['reason']) },
  },
  {
    title: 'Blame',
    description: 'Other agents left as the source of a blob, by reason.',
    unit: 'short',
    width: 8,
    series: { '{{reason}}': increaseOf(ofNodes('windlass_peer_blamed_total'), ['reason']) },
  },
  {
    title: 'Left out',
    description:
      'By how many agents a node is left out for the moment: because of wrong bytes, silence, claims that make no sense; missing: for a blob alone that it had not got.',
    unit: 'short',
    width: 8,
    series: {
      '{{peer_node}} ({{reason}})': `count by (peer_node, reason) (${ofNodes('windlass_peers_left_out')})`,
      all: `count(${ofNodes('windlass_peers_left_out')}) or vector(0)`,
    },
  },
  {
    title: 'Refused',
    description:
      'Connections and requests of others that were refused: strangers have no proof of the cluster secret; busy: too much at once.',
    unit: 'short',
    width: 8,
    series: { '{{plane}} {{reason}}': increaseOf(ofNodes('windlass_peer_refused_total'), ['plane', 'reason']) },
  },
];

export const swarm = () => GRAPHS.map(graph);
