import type { SourceLabel } from '../metrics/metrics.ts';

/**
 * What an agent says of itself at `GET /status`, as JSON. Sizes are bytes, rates bytes a second, times milliseconds.
 * Fields may be added; none is renamed or removed.
 */
export interface AgentStatus {
  readonly node: string;
  /** Empty where it is not known. */
  readonly zone: string;
  /** Null for an agent that is alone by its settings. */
  readonly peerId: string | null;
  readonly version: string;
  readonly uptimeMs: number;
  /** Are pulls served? */
  readonly ready: boolean;
  /** `discovery.kind`: none, static, … */
  readonly discovery: string;
  /** The other live members of the cluster, by node name. */
  readonly peers: readonly PeerStatus[];
  /** Blobs on their way in now, the oldest first. */
  readonly transfers: readonly TransferStatus[];
  readonly uploads: {
    /** Blobs being sent to other agents now. */
    readonly running: number;
    readonly rate: number;
  };
  /** Since the agent started. */
  readonly totals: Totals;
  readonly store: {
    readonly blobs: number;
    readonly sizeBytes: number;
    /** Unfinished files, and room reserved for them. */
    readonly ingestBytes: number;
    readonly maxBytes: number;
  };
}

export interface PeerStatus {
  readonly nodeName: string;
  readonly peerId: string;
  readonly zone: string;
  /** `host:port` of its data plane. */
  readonly dataAddress: string;
  /** Multiaddresses of its libp2p listener. */
  readonly p2pAddresses: readonly string[];
  readonly state: 'live' | 'suspect' | 'leaving';
}

export interface TransferStatus {
  readonly digest: string;
  /** Null until a source or a manifest has said it. */
  readonly sizeBytes: number | null;
  readonly written: number;
  readonly state: string;
  readonly source: SourceLabel;
  /** Node names (else peer ids) of the agents that it is read from; none while it comes from upstream. */
  readonly from: readonly string[];
  /** Lately. */
  readonly rate: number;
  /** Clients of this node that read it. */
  readonly readers: number;
  /** Other agents that read it from here. */
  readonly children: number;
}

export interface Totals {
  /** Answers with 2xx to container runtimes, by where they came from. */
  readonly requests: Readonly<Record<SourceLabel, number>>;
  /** Body bytes sent to container runtimes, by where they came from. */
  readonly bytes: Readonly<Record<SourceLabel, number>>;
  /** Share of the answers that upstream was not asked for; null before the first. */
  readonly hitRate: number | null;
  /** 1 - upstreamBytes / bytes sent to runtimes, never below 0; null before the first byte. */
  readonly byteHitRate: number | null;
  /** Body bytes received from registries. */
  readonly upstreamBytes: number;
  /** Blob bytes received from other agents, and sent to them. */
  readonly peerReceivedBytes: number;
  readonly peerSentBytes: number;
  /** What was sent to runtimes and did not have to come from upstream, never below 0. */
  readonly savedBytes: number;
  readonly takeovers: number;
  /** Times that another agent was left as a source. */
  readonly blamed: number;
  /** Connections and requests of others that were refused. */
  readonly refused: number;
}
