import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import type { StoreStats } from '../store/blob-store.ts';
import type { AgentStatus, PeerStatus, TransferStatus } from './agent-status.ts';
import { RateMeter } from './rate-meter.ts';
import { readTotals } from './totals.ts';

/** An ingest, as far as the report is concerned; `Blobs.running()` gives them. */
export interface RunningTransfer {
  readonly id: string;
  readonly digest: string;
  readonly state: string;
  readonly sizeBytes: number | undefined;
  readonly written: number;
  readonly readers: number;
  /** Wall clock. */
  readonly startedAtMs: number;
  /** Where the last bytes came from. */
  readonly source: SourceLabel;
  /** Peer ids of the agents that it is read from. */
  readonly parents: readonly string[];
  readonly children: number;
}

/** What a report reads, each time anew. */
export interface StatusReportOptions {
  readonly node: string;
  /** Of this node; discovery may find it out. */
  readonly zone: () => string;
  readonly version: string;
  readonly discovery: string;
  /** Undefined for a lone agent, and until it is known. */
  readonly peerId?: () => string | undefined;
  /** The other members; by default there are none. */
  readonly peers?: () => readonly PeerStatus[];
  readonly transfers: () => readonly RunningTransfer[];
  readonly store: () => StoreStats;
  readonly metrics: Metrics;
}

/** Puts together what `GET /status` says. */
export class StatusReport {
  readonly #options: StatusReportOptions;
  readonly #rates = new RateMeter();
  readonly #startedAtMs = performance.now();
  readonly #sent = new RateMeter();

  constructor(options: StatusReportOptions) {
    this.#options = options;
  }

  async read(ready: boolean): Promise<AgentStatus> {
    const { node, zone, version, discovery, metrics, peerId, store } = this.#options;
    const peers = (this.#options.peers?.() ?? []).map(peerOf).sort((a, b) => a.nodeName.localeCompare(b.nodeName));
    const totals = await readTotals(metrics);
    const running = (await metrics.peerUploads.get()).values[0]?.value ?? 0;
    const nowMs = performance.now();
    const stats = store();
    return {
      node,
      zone: zone(),
      peerId: peerId?.() ?? null,
      version,
      uptimeMs: Math.round(nowMs - this.#startedAtMs),
      ready,
      discovery,
      peers,
      transfers: this.#transfers(peers),
      uploads: {
        running,
        rate: Math.round(this.#sent.look('sent', totals.peerSentBytes, nowMs, this.#startedAtMs)),
      },
      totals,
      store: {
        blobs: stats.blobs,
        sizeBytes: stats.blobBytes,
        ingestBytes: stats.ingestBytes,
        maxBytes: stats.maxBytes,
      },
    };
  }

  #transfers(peers: readonly PeerStatus[]): TransferStatus[] {
    const running = [...this.#options.transfers()].sort((a, b) => a.startedAtMs - b.startedAtMs);
    this.#rates.keepOnly(running.map(({ id }) => id));
    const nowMs = Date.now();
    return running.map((transfer) => ({
      digest: transfer.digest,
      sizeBytes: transfer.sizeBytes ?? null,
      written: transfer.written,
      state: transfer.state,
      source: transfer.source,
      from: transfer.parents.map((parent) => peers.find(({ peerId }) => peerId === parent)?.nodeName ?? parent),
      rate: Math.round(this.#rates.look(transfer.id, transfer.written, nowMs, transfer.startedAtMs)),
      readers: transfer.readers,
      children: transfer.children,
    }));
  }
}

/** Whatever else is known of it is not said. */
function peerOf({ nodeName, peerId, zone, dataAddress, p2pAddresses, state }: PeerStatus): PeerStatus {
  return { nodeName, peerId, zone, dataAddress, p2pAddresses, state };
}
