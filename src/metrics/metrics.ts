import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { memoryLimitBytes } from './memory-limit.ts';

/** Where the bytes of an answer came from. */
export type SourceLabel = 'store' | 'content' | 'ingest' | 'peer' | 'upstream' | 'none';

const FIRST_BYTE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];
const DURATION_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
/** From a held blob of some KiB to layers of some GiB over a slow link. */
const BLOB_BUCKETS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640];
/** What may have served an answer. */
const SERVING = ['store', 'content', 'ingest', 'peer', 'upstream'] as const satisfies readonly SourceLabel[];
export const SOURCES: readonly SourceLabel[] = [...SERVING, 'none'];

/** Whose zone bytes came from: this node's own, another; `unknown` where either is not told. */
export type ZoneLabel = 'same' | 'other' | 'unknown';

/** Names and meanings of everything that is counted. One instance an agent; nothing is global. */
export class Metrics {
  readonly registry = new Registry();

  // The agent.
  // `node_name`: a target's own label `node`, which the chart's monitors set, would push a `node` of ours aside.
  readonly info = this.#gauge(
    'windlass_agent_info',
    'Always 1: version, node name and zone of this agent, and how it finds others (discovery.kind; none: a lone one).',
    ['version', 'node_name', 'zone', 'discovery'],
  );
  readonly ready = this.#gauge('windlass_ready', '1 while pulls are served, 0 while it starts or stops.');

  // The mirror: what clients asked, and what they got.
  readonly mirrorRequests = this.#counter(
    'windlass_mirror_requests_total',
    'Requests of container runtimes, by kind (manifest, tag, blob, other), method, status code and source.',
    ['kind', 'method', 'code', 'source'],
  );
  readonly mirrorBytes = this.#counter(
    'windlass_mirror_response_bytes_total',
    'Body bytes sent to container runtimes, by source. Byte hit rate is 1 - upstream received / these.',
    ['source'],
  );
  readonly mirrorFirstByte = this.#histogram(
    'windlass_mirror_first_byte_seconds',
    'From the request to the first body byte sent, by source.',
    ['source'],
    FIRST_BYTE_BUCKETS,
  );
  readonly mirrorDuration = this.#histogram(
    'windlass_mirror_request_duration_seconds',
    'From the request to the end of the answer, by kind and source.',
    ['kind', 'source'],
    DURATION_BUCKETS,
  );
  readonly mirrorBlob = this.#histogram(
    'windlass_mirror_blob_seconds',
    'From the request for a whole blob by GET to its last byte sent, of those that were sent whole, by source.',
    ['source'],
    BLOB_BUCKETS,
  );
  readonly mirrorBroken = this.#counter(
    'windlass_mirror_broken_responses_total',
    'Bodies that were ended early because the blob could not be finished, by error code.',
    ['code'],
  );
  readonly mirrorConnections = this.#gauge('windlass_mirror_connections', 'Open connections of container runtimes.');
  readonly mirrorConnectionsDropped = this.#counter(
    'windlass_mirror_connections_dropped_total',
    'Idle connections closed because the ceiling was reached.',
  );

  // Ingests.
  readonly ingests = this.#counter('windlass_ingests_total', 'Ended ingests, by result: committed, passed, failed.', [
    'result',
  ]);
  readonly ingestsRunning = this.#gauge('windlass_ingests_running', 'Blobs being written now.');
  readonly ingestResumes = this.#counter(
    'windlass_ingest_resumes_total',
    'Times an ingest went on from where it was, by reason: cut, stall, restart.',
    ['reason'],
  );
  readonly ingestReceivedBytes = this.#counter(
    'windlass_ingest_received_bytes_total',
    'Bytes of blobs that ingests took in, by source: peer, upstream.',
    ['source'],
  );
  readonly verificationFailures = this.#counter(
    'windlass_verification_failures_total',
    'Blobs and manifests whose bytes did not have their digest or length, by source.',
    ['source'],
  );
  readonly rangedRequests = this.#counter(
    'windlass_ingest_ranged_requests_total',
    'Upstream requests for a small range far ahead of the writer (lazy-pulling snapshotters).',
  );

  // Tags.
  readonly tagLookups = this.#counter(
    'windlass_tag_lookups_total',
    'Tags resolved, by result: fresh, checked, stale, missing, failed.',
    ['result'],
  );
  readonly tagStale = this.#counter(
    'windlass_tag_stale_served_total',
    'Tags answered with the last known digest because upstream could not be asked, by registry.',
    ['registry'],
  );

  // The store.
  readonly storeBytes = this.#gauge('windlass_store_bytes', 'Bytes of committed blobs.');
  readonly storeIngestBytes = this.#gauge('windlass_store_ingest_bytes', 'Bytes of unfinished files and reservations.');
  readonly storeMaxBytes = this.#gauge('windlass_store_max_bytes', 'The quota, store.maxSize.');
  readonly storeBlobs = this.#gauge('windlass_store_blobs', 'Committed blobs.');
  readonly storeEvictions = this.#counter('windlass_store_evictions_total', 'Blobs evicted to make room.');
  readonly storeEvictedBytes = this.#counter('windlass_store_evicted_bytes_total', 'Bytes evicted to make room.');
  readonly storePassed = this.#counter(
    'windlass_store_pass_through_total',
    'Blobs passed to clients without being kept, for want of room.',
  );
  readonly storeScrubbedBytes = this.#counter(
    'windlass_store_scrubbed_bytes_total',
    'Bytes hashed again by the scrub.',
  );
  readonly storeCorrupt = this.#counter(
    'windlass_store_corrupt_blobs_total',
    'Blobs dropped because their bytes on the disk had changed, found by the scrub or a reader.',
  );

  readonly storeDeleteFailures = this.#counter(
    'windlass_store_delete_failures_total',
    'Files of the store that could not be deleted: they take room that nobody counts.',
  );
  // What the node's containerd holds.
  readonly contentConnected = this.#gauge(
    'windlass_content_connected',
    'Is containerd being followed (1), or not (0).',
  );
  readonly contentBlobs = this.#gauge('windlass_content_blobs', 'Blobs of containerd that others can have.');
  readonly contentBytes = this.#gauge('windlass_content_bytes', 'Their bytes.');

  // Upstream.
  readonly upstreamRequests = this.#counter(
    'windlass_upstream_requests_total',
    'Requests to registries, by registry, kind (manifest, blob, token, other), method, and status (a code, or error).',
    ['registry', 'kind', 'method', 'status'],
  );
  readonly upstreamBytes = this.#counter(
    'windlass_upstream_received_bytes_total',
    'Body bytes received from registries.',
    ['registry'],
  );
  readonly upstreamFirstByte = this.#histogram(
    'windlass_upstream_first_byte_seconds',
    'From sending a request to the headers of its answer.',
    ['registry'],
    FIRST_BYTE_BUCKETS,
  );
  readonly upstreamQueued = this.#gauge('windlass_upstream_queued_requests', 'Requests that wait for their turn.', [
    'registry',
  ]);
  readonly upstreamPaused = this.#counter(
    'windlass_upstream_pauses_total',
    'Times a registry asked to be left alone (429 or 503 with Retry-After).',
    ['registry'],
  );

  // The swarm. Bytes saved are what the mirrors sent less what upstream sent: see the README's queries.
  readonly peers = this.#gauge('windlass_peers', 'Live members of the cluster, this agent left out.');
  readonly indexEntries = this.#gauge(
    'windlass_index_entries',
    'Pairs of a blob and an agent that holds it, as far as this agent keeps the index.',
  );
  readonly p2pConnections = this.#gauge('windlass_p2p_connections', 'Open libp2p connections to other agents.');
  readonly claims = this.#counter(
    'windlass_claims_total',
    'Claims of this agent, by answer: write, read, bytes, failed, or self where no keeper answered and it granted itself the right.',
    ['answer'],
  );
  readonly takeovers = this.#counter(
    'windlass_takeovers_total',
    'Times this agent, as a keeper, passed the right to write on, by why the last writer lost it: broken, silent, stalled, slow, shorter (another one came that had far more of it), failed, left.',
    ['reason'],
  );
  readonly peerUploads = this.#gauge('windlass_peer_uploads_running', 'Blobs being sent to other agents now.');
  readonly peerDownloads = this.#gauge(
    'windlass_peer_downloads_running',
    'Blobs being received from other agents now.',
  );
  readonly peerSentBytes = this.#counter('windlass_peer_sent_bytes_total', 'Bytes of blobs sent to other agents.');
  readonly peerReceivedBytes = this.#counter(
    'windlass_peer_received_bytes_total',
    'Bytes of blobs received from other agents, by the zone of the agent that sent them: same, other, unknown.',
    ['zone'],
  );
  readonly peerCalls = this.#counter(
    'windlass_peer_calls_total',
    'Calls of other agents that this one answered, by path: claims, index, roster, purge.',
    ['path'],
  );
  readonly peerRefused = this.#counter(
    'windlass_peer_refused_total',
    'Connections and requests of others that were refused, by plane (p2p, data) and reason: stranger (no proof of the secret), unfinished (ended before it), nonsense, busy, version.',
    ['plane', 'reason'],
  );
  readonly peerBlamed = this.#counter(
    'windlass_peer_blamed_total',
    'Other agents left as the source of a blob, by reason: broken, silent, slow, wrong, missing, full, cycle, failed.',
    ['reason'],
  );

  readonly peersLeftOut = this.#gauge(
    'windlass_peers_left_out',
    '1 for each agent that this one leaves out for the moment, by its node name and reason: wrong, silent (nothing is read from it), nonsense (its claims make none), missing (it lacked a blob that it said it held, and is the last to be asked for that one): at most 10.',
    ['peer_node', 'reason'],
  );

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const memoryLimit = this.#gauge(
      'windlass_memory_limit_bytes',
      "Memory that the process may have: its cgroup's limit, else that of the machine.",
    );
    memoryLimit.set(memoryLimitBytes());
    // From 0 on: what is born at 1 has never increased, and an alert on it would miss the first.
    for (const source of SOURCES) this.mirrorBytes.inc({ source }, 0);
    for (const source of SERVING) {
      this.mirrorFirstByte.zero({ source });
      this.mirrorBlob.zero({ source });
      for (const kind of ['manifest', 'tag', 'blob']) {
        for (const method of ['GET', 'HEAD']) this.mirrorRequests.inc({ kind, method, code: '200', source }, 0);
      }
    }
    for (const zone of ['same', 'other', 'unknown']) this.peerReceivedBytes.inc({ zone }, 0);
    for (const source of ['content', 'peer', 'upstream']) this.verificationFailures.inc({ source }, 0);
    for (const result of ['committed', 'passed', 'failed']) this.ingests.inc({ result }, 0);
    for (const source of ['peer', 'upstream']) this.ingestReceivedBytes.inc({ source }, 0);
    for (const reason of ['cut', 'stall', 'restart']) this.ingestResumes.inc({ reason }, 0);
    for (const result of ['fresh', 'checked', 'stale', 'missing', 'failed']) this.tagLookups.inc({ result }, 0);
    for (const answer of ['write', 'read', 'bytes', 'failed', 'self']) this.claims.inc({ answer }, 0);
    for (const reason of ['broken', 'silent', 'stalled', 'slow', 'shorter', 'failed', 'left'])
      this.takeovers.inc({ reason }, 0);
    for (const path of ['claims', 'index', 'roster', 'purge']) this.peerCalls.inc({ path }, 0);
    for (const plane of ['p2p', 'data']) this.peerRefused.inc({ plane, reason: 'stranger' }, 0);
    for (const reason of ['nonsense', 'busy']) this.peerRefused.inc({ plane: 'data', reason }, 0);
    for (const reason of ['unfinished', 'nonsense', 'busy', 'version'])
      this.peerRefused.inc({ plane: 'p2p', reason }, 0);
    for (const reason of ['broken', 'silent', 'slow', 'strained', 'wrong', 'missing', 'full', 'cycle', 'failed']) {
      this.peerBlamed.inc({ reason }, 0);
    }
    // Node's own gauges that end in _total break Prometheus' conventions (promtool check metrics).
    for (const name of [
      'nodejs_active_handles_total',
      'nodejs_active_requests_total',
      'nodejs_active_resources_total',
    ]) {
      this.registry.removeSingleMetric(name);
    }
  }

  /** Its series are there from 0 on, or a query of what increased would miss the first of each. */
  expectRegistry(registry: string): void {
    this.tagStale.inc({ registry }, 0);
    this.upstreamBytes.inc({ registry }, 0);
    this.upstreamPaused.inc({ registry }, 0);
    this.upstreamQueued.inc({ registry }, 0);
    this.upstreamFirstByte.zero({ registry });
    for (const status of ['200', 'error']) {
      this.upstreamRequests.inc({ registry, kind: 'blob', method: 'GET', status }, 0);
      for (const method of ['GET', 'HEAD']) {
        this.upstreamRequests.inc({ registry, kind: 'manifest', method, status }, 0);
      }
    }
  }

  #counter<const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #gauge<const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #histogram<const L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets: number[],
  ): Histogram<L> {
    return new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [this.registry] });
  }
}
