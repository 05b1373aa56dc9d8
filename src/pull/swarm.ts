import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PeerId } from '../routing/member.ts';
import type { Roster } from '../routing/roster.ts';
import type { Claims } from './claims/claims.ts';
import { Offenders } from './offenders.ts';
import { Origins } from './origins.ts';
import type { PeerStreams } from './peer-streams.ts';
import { type PieceKey, PieceProofs } from './piece-proofs.ts';
import { UplinkStrain } from './uplink-strain.ts';

/** How long each step may take, in ms. */
export interface SwarmBounds {
  /** From asking a parent to the first bytes of its answer. */
  readonly openMs: number;
  /** What may be lost in all to parents that do not work, before upstream is asked without leave of the keeper. */
  readonly budgetMs: number;
  /** A piece that is under way for so long, at less than a crawl, is waited for no longer. */
  readonly pieceMs: number;
  /** A stream's first moments, in which its parent is not judged by its rate. */
  readonly slowAfterMs: number;
  /** A holder that only says that it waits is waited with for so long: it has nothing to wait for but its disk. */
  readonly holderMs: number;
  /** A writer or relay that only says that it waits is waited with for so long: longer than upstream's first byte may take. */
  readonly waitingMs: number;
}

const BOUNDS: SwarmBounds = {
  openMs: 2_000,
  budgetMs: 6_000,
  pieceMs: 10_000,
  slowAfterMs: 400,
  holderMs: 5_000,
  waitingMs: 45_000,
};

export interface SwarmOptions extends PieceKey {
  readonly claims: Claims;
  readonly streams: PeerStreams;
  readonly roster: Pick<Roster, 'self' | 'get'>;
  /**
   * Tells the credentials that this node has for an origin from others; undefined where it has none. What upstream
   * answered is shared among nodes with the same.
   */
  readonly fingerprint?: (origin: RepositoryName) => Promise<string | undefined>;
  /** Asks another agent whom it knows: it names somebody whom we do not. Bounded; may reject. */
  readonly meet?: (peerId: PeerId) => Promise<void>;
  /** Of this agent, whose claims tell it. */
  readonly strain?: UplinkStrain;
  readonly bounds?: Partial<SwarmBounds>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What this node's pulls share to take part in the swarm. */
export class Swarm {
  readonly claims: Claims;
  readonly streams: PeerStreams;
  readonly roster: Pick<Roster, 'self' | 'get'>;
  readonly proofs: PieceProofs;
  readonly offenders: Offenders;
  readonly strain: UplinkStrain;
  readonly bounds: SwarmBounds;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly #resumed = new LRUCache<Digest, true>({ max: 1_000 });
  readonly #meet: (peerId: PeerId) => Promise<void>;
  readonly #fingerprint: (origin: RepositoryName) => Promise<string | undefined>;

  constructor(options: SwarmOptions) {
    this.claims = options.claims;
    this.streams = options.streams;
    this.roster = options.roster;
    this.proofs = new PieceProofs(options.roster, options);
    this.offenders = new Offenders(options);
    this.strain = options.strain ?? new UplinkStrain();
    this.bounds = { ...BOUNDS, ...options.bounds };
    this.logger = options.logger;
    this.metrics = options.metrics;
    this.#meet = options.meet ?? (async () => {});
    this.#fingerprint = options.fingerprint ?? (async () => undefined);
  }

  /** Is it a member, as far as this agent, and `by`, know? Never rejects. */
  async knows(peerId: PeerId, by: PeerId): Promise<boolean> {
    if (this.roster.get(peerId) === undefined) await this.#meet(by).catch(() => {});
    return this.roster.get(peerId) !== undefined;
  }

  get self(): PeerId {
    return this.roster.self.peerId;
  }

  /** As claims name it: what upstream answers belongs to it. */
  async sourceOf(origin: RepositoryName): Promise<string> {
    return this.#withFingerprint(Origins.keyOf(origin), origin);
  }

  /**
   * Is it the first time since this process began that what an earlier ingest left of a blob is put forward? Who could not
   * go on from there, as upstream gives it nothing, is not to be the writer at each try of its client.
   */
  resumesFirst(digest: Digest): boolean {
    if (this.#resumed.has(digest)) return false;
    this.#resumed.set(digest, true);
    return true;
  }

  blobKey(digest: Digest): string {
    return `blob:${digest}`;
  }

  async tagKey(origin: RepositoryName, tag: string): Promise<string> {
    return this.#withFingerprint(`tag:${Origins.keyOf(origin)}:${tag}`, origin);
  }

  async #withFingerprint(name: string, origin: RepositoryName): Promise<string> {
    const fingerprint = await this.#fingerprint(origin);
    return fingerprint === undefined ? name : `${name}#${fingerprint}`;
  }
}
