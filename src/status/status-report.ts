import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import type { StoreStats } from '../store/blob-store.ts';
import type { AgentStatus, GonePeer, PeerStatus, TransferStatus, UnmetAddress } from './agent-status.ts';
import type { History } from './history.ts';
import { RateMeter } from './rate-meter.ts';
import { readTotals } from './totals.ts';

/** A large cluster that has just been started: enough to see what is the matter. */
const MOST_UNMET = 100;

/** An ingest, as far as the report is concerned; `Blobs.running()` gives them. */
export interface RunningTransfer {
  readonly id: string;
  readonly pull: string;
  readonly origin: { readonly registry: string; readonly repository: string };
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
  readonly parentRole: TransferStatus['parentRole'] | undefined;
  /** Peer ids, from the cluster's writer, or a holder, down to the parent. */
  readonly path: readonly string[];
  readonly children: number;
  /** Their peer ids. */
  readonly to: readonly string[];
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
  readonly gone?: () => readonly GonePeer[];
  /** What discovery names beside them. */
  readonly unmet?: () => readonly { readonly address: string; readonly nodeName?: string }[];
  /** Of a member, or one that was a moment ago. */
  readonly nameOf?: (peerId: string) => string | undefined;
  readonly transfers: () => readonly RunningTransfer[];
  readonly store: () => StoreStats;
  readonly history: History;
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

  /** @param names tell the names of repositories? */
  async read(ready: boolean, names: boolean): Promise<AgentStatus> {
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
      gone: this.#gone(peers),
      unmet: this.#unmet(),
      transfers: this.#transfers(peers, names),
      uploads: {
        running,
        rate: Math.round(this.#sent.look('sent', totals.peerSentBytes, nowMs, this.#startedAtMs)),
      },
      totals,
      lastHour: this.#options.history.lastHour(totals, nowMs),
      store: {
        blobs: stats.blobs,
        sizeBytes: stats.blobBytes,
        ingestBytes: stats.ingestBytes,
        maxBytes: stats.maxBytes,
      },
    };
  }

  /** A node that has come back as another member is not gone. */
  #gone(peers: readonly PeerStatus[]): GonePeer[] {
    const here = new Set(peers.map(({ nodeName }) => nodeName));
    return (this.#options.gone?.() ?? []).filter(({ nodeName }) => !here.has(nodeName));
  }

  #unmet(): UnmetAddress[] {
    const all = (this.#options.unmet?.() ?? []).map(({ address, nodeName = null }) => ({ address, nodeName }));
    return all.sort((a, b) => a.address.localeCompare(b.address)).slice(0, MOST_UNMET);
  }

  #transfers(peers: readonly PeerStatus[], names: boolean): TransferStatus[] {
    const nameOf = (peerId: string): string =>
      peers.find((peer) => peer.peerId === peerId)?.nodeName ?? this.#options.nameOf?.(peerId) ?? peerId;
    const running = [...this.#options.transfers()].sort((a, b) => a.startedAtMs - b.startedAtMs);
    this.#rates.keepOnly(running.map(({ id }) => id));
    const nowMs = Date.now();
    return running.map((transfer) => ({
      id: transfer.id,
      pull: transfer.pull,
      registry: transfer.origin.registry,
      repository: names ? transfer.origin.repository : null,
      digest: transfer.digest,
      sizeBytes: transfer.sizeBytes ?? null,
      written: transfer.written,
      state: transfer.state,
      source: transfer.source,
      from: transfer.parents.map(nameOf),
      parentRole: transfer.parentRole ?? null,
      path: transfer.path.map(nameOf),
      rate: Math.round(this.#rates.look(transfer.id, transfer.written, nowMs, transfer.startedAtMs)),
      readers: transfer.readers,
      children: transfer.children,
      to: transfer.to.map(nameOf),
    }));
  }
}

/** Whatever else is known of it is not said. */
function peerOf({ nodeName, peerId, zone, dataAddress, p2pAddresses, state }: PeerStatus): PeerStatus {
  return { nodeName, peerId, zone, dataAddress, p2pAddresses, state };
}
