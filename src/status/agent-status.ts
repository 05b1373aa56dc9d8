import type { SourceLabel } from '../metrics/metrics.ts';
import type { IngestTimes } from '../pull/ingest-phases.ts';

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
  /** Those that went within the last hour, and have not come back. */
  readonly gone: readonly GonePeer[];
  /** What discovery names and no live member is known at, the first 100 by address; this agent's own left out. */
  readonly unmet: readonly UnmetAddress[];
  /** Blobs on their way in now, the oldest first. */
  readonly transfers: readonly TransferStatus[];
  readonly uploads: {
    /** Blobs being sent to other agents now. */
    readonly running: number;
    readonly rate: number;
  };
  /** Since the agent started. */
  readonly totals: Totals;
  readonly lastHour: LastHour;
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

export interface GonePeer {
  readonly nodeName: string;
  readonly zone: string;
  /** left: in order. */
  readonly state: 'left' | 'dead';
  readonly goneMs: number;
  /** As it last said them; as of a peer. */
  readonly dataAddress: string;
  readonly p2pAddresses: readonly string[];
}

export interface UnmetAddress {
  /** `host:port` of a libp2p listener. */
  readonly address: string;
  /** Null where discovery does not say it. */
  readonly nodeName: string | null;
}

/** What a blob belongs to. */
export interface BlobName {
  /** As logs have it: the same for all that one image consists of. */
  readonly pull: string;
  readonly registry: string;
  /** Null for who is not to know it: `status.names`. */
  readonly repository: string | null;
  readonly digest: string;
}

export interface TransferStatus extends BlobName {
  readonly id: string;
  /** Null until a source or a manifest has said it. */
  readonly sizeBytes: number | null;
  readonly written: number;
  readonly state: string;
  readonly source: SourceLabel;
  /** Node names (else peer ids) of the agents that it is read from; none while it comes from upstream. */
  readonly from: readonly string[];
  /** What that agent does: fetches it from upstream, reads it from another one, or holds all of it. */
  readonly parentRole: 'writer' | 'relay' | 'holder' | null;
  /** From the cluster's writer, or a holder, down to that agent. */
  readonly path: readonly string[];
  /** Lately. */
  readonly rate: number;
  /** Clients of this node that read it. */
  readonly readers: number;
  /** Other agents that read it from here. */
  readonly children: number;
  /** Their node names, as far as they are known. */
  readonly to: readonly string[];
}

/** A blob that was brought in, or was not. */
export interface RecentPull extends BlobName {
  /** From 1 on, in the order in which they ended. */
  readonly sequence: number;
  readonly sizeBytes: number;
  /** passed: given to clients, and not kept for want of room. */
  readonly state: 'committed' | 'passed' | 'failed';
  /** Why it failed: an error's code. */
  readonly code: string | null;
  /** Where its last bytes came from. */
  readonly source: SourceLabel;
  /** Node names of the agents that it was read from. */
  readonly from: readonly string[];
  /** Where the time went. */
  readonly times: IngestTimes;
  readonly endedMsAgo: number;
}

/** As `Totals`, of the last hour, or since the agent started where that is less. */
export interface LastHour extends Pick<Totals, 'hitRate' | 'byteHitRate' | 'savedBytes' | 'upstreamBytes'> {
  readonly overMs: number;
  readonly servedBytes: number;
}

/** Totals at one moment. */
export interface HistorySample {
  readonly msAgo: number;
  /** Answers with 2xx to container runtimes, and those of them that upstream was not asked for. */
  readonly answers: number;
  readonly hits: number;
  readonly servedBytes: number;
  readonly upstreamBytes: number;
  /** From other agents. */
  readonly peerBytes: number;
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
