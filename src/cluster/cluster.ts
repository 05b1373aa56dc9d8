import { setTimeout as sleep } from 'node:timers/promises';
import { formatListenAddress } from '../config/listen-address.ts';
import { parseMultiaddr } from '../config/multiaddr.ts';
import type { Candidate, Discovery } from '../discovery/discovery.ts';
import type { PeerClient } from '../peer/peer-client.ts';
import type { PeerServer } from '../peer/peer-server.ts';
import type { ClaimsParts } from '../pull/claims/create-claims.ts';
import type { Swarm } from '../pull/swarm.ts';
import type { Control } from '../routing/control/control.ts';
import type { KeeperIndex } from '../routing/keeper-index.ts';
import type { Libp2pRouter } from '../routing/libp2p-router.ts';
import type { LiveRoster } from '../routing/live-roster.ts';
import type { Member } from '../routing/member.ts';
import { MetMembers } from '../routing/met-members.ts';
import type { DropTarget } from '../status/drop-target.ts';
import type { Asked } from '../status/purge.ts';
import { type ClusterEnds, type ClusterOptions, createParts, type Late, type Parts } from './parts.ts';

const HAND_OVER_MS = 5_000;
const PURGE_MS = 10_000;
/** A node of its own is not to wait longer for others that are not there. */
const MEETING_MS = 1_000;
const REMEMBER_MS = 60_000;
/** As the help of windlass_peers_left_out has it. */
const LEFT_OUT_NAMED = 10;
/** A containerd that is slow, or not there, must not keep from others what the store holds. */
const LISTING_MS = 3_000;

/**
 * This agent's part in the cluster: everything that a lone agent has not. The part of the composition root that
 * is used when `discovery.kind` is not `none`.
 *
 * ```
 *  create: identity ▶ secret ▶ peer server listens ▶ control, roster, claims ▶ swarm
 *  start:  libp2p listens ▶ discovery ▶ hellos ▶ roster ── taken from another ──▶ index taken, holdings announced
 *  leave:  the roster says so ▶ the index is handed over
 * ```
 */
export class Cluster {
  readonly swarm: Swarm;
  readonly roster: LiveRoster;
  readonly router: Libp2pRouter;
  readonly #options: ClusterOptions;
  readonly #server: PeerServer;
  readonly #client: PeerClient;
  readonly #control: Control;
  readonly #claims: ClaimsParts;
  readonly #index: KeeperIndex;
  readonly #discovery: Discovery;
  readonly #late: Late;
  readonly #met: MetMembers;
  readonly #stops: (() => void)[] = [];
  #candidates: readonly Candidate[] = [];
  #left = false;

  private constructor(options: ClusterOptions, parts: Parts) {
    this.#options = options;
    this.swarm = parts.swarm;
    this.#server = parts.server;
    this.#client = parts.client;
    this.#control = parts.control;
    this.roster = parts.roster;
    this.router = parts.router;
    this.#claims = parts.claims;
    this.#index = parts.index;
    this.#late = parts.late;
    this.#discovery = parts.discovery;
    this.#met = new MetMembers({
      storePath: options.settings.store.path,
      logger: options.logger.child({ room: 'routing' }),
    });
  }

  /** Listens for other agents when it resolves; they are declined until `start`. The store is open. */
  static async create(options: ClusterOptions): Promise<Cluster> {
    return new Cluster(options, await createParts(options));
  }

  /** To be called before metrics are read. */
  refreshMetrics(): void {
    this.#options.metrics.peers.set(this.others.length);
    this.#options.metrics.indexEntries.set(this.#index.entries);
    this.#refreshLeftOut();
  }

  /** By name, and only the first: who blames a whole cluster needs no list of it. */
  #refreshLeftOut(): void {
    const { peersLeftOut } = this.#options.metrics;
    peersLeftOut.reset();
    const nonsense = this.#claims.leftOut().map((peerId) => ({ peerId, reason: 'nonsense' }));
    const named = [...nonsense, ...this.swarm.offenders.leftOut()].flatMap(({ peerId, reason }) => {
      const name = this.roster.get(peerId)?.nodeName;
      return name === undefined ? [] : [{ peer_node: name, reason }];
    });
    for (const labels of named.slice(0, LEFT_OUT_NAMED)) peersLeftOut.set(labels, 1);
  }

  get peerId(): string {
    return this.roster.self.peerId;
  }

  /** The other live members. */
  get others(): readonly Member[] {
    return this.roster.members().filter(({ peerId }) => peerId !== this.peerId);
  }

  /** What discovery names and is, as far as is known, neither this agent nor a live member. */
  get unmet(): readonly Candidate[] {
    const members = this.roster.members();
    const peerIds = new Set(members.map(({ peerId }) => peerId));
    const addresses = new Set(members.flatMap(({ p2pAddresses }) => p2pAddresses.map(hostPortOf)));
    return this.#candidates.filter(
      ({ address, self }) =>
        self !== true && !addresses.has(address) && !peerIds.has(this.#control.ownerOf(address) ?? ''),
    );
  }

  /**
   * Takes part. Resolves when others can reach this agent, and it knows who they are; or after a moment, when nobody
   * answers. An agent that does not know the others yet would ask upstream for what they are fetching.
   */
  async start(ends: ClusterEnds): Promise<void> {
    const { logger, metrics } = this.#options;
    this.#late.ends = ends;
    const roster = this.roster;
    this.#stops.push(
      roster.subscribe(({ joined, left }) => {
        metrics.peers.set(this.others.length);
        this.#control.setMembers(this.others);
        for (const { nodeName, zone, dataAddress } of joined) {
          logger.info({ peer: nodeName, zone, dataAddress, peers: this.others.length }, 'agent joined');
        }
        for (const { member, leaving } of left) {
          logger.info({ peer: member.nodeName, leaving, peers: this.others.length }, 'agent left');
          if (!leaving) this.#client.forget(member);
        }
      }),
      this.#control.onHello((entry, from) => {
        void roster.merge([entry], from);
        // Whoever was taken for dead says nothing new, but it lives.
        roster.heard(from);
      }),
    );
    roster.start();
    await this.#control.start();
    roster.updateSelf({ p2pAddresses: this.#control.multiaddrs });
    await this.#discovery.start((candidates) => {
      this.#candidates = candidates;
      this.#control.setSeeds(candidates.map(({ address }) => address));
      this.#learnZone(candidates);
    });
    // Alone there is nobody to tell, and nothing to take over.
    const taken = roster.taken().then(() => {
      void this.#announce();
      return true;
    });
    const asked = this.#met.ask((address) => roster.exchangeWith(address), AbortSignal.timeout(MEETING_MS));
    await Promise.race([taken, Promise.all([asked, sleep(MEETING_MS)])]);
    this.#rememberNowAndThen();
  }

  /** What is held here, then each change of it. */
  async #announce(): Promise<void> {
    const { holdings, logger } = this.#options;
    try {
      // All at once, or it would differ from what keepers remember of it, and be told again.
      await Promise.race([holdings.known, sleep(LISTING_MS, undefined, { ref: false })]);
      if (this.#left) return;
      this.#stops.push(
        holdings.subscribe(({ held, gone }) => {
          if (held.length > 0) this.router.advertise(held);
          if (gone.length > 0) this.router.withdraw(gone);
        }),
      );
      await this.router.start(holdings.list());
    } catch (err) {
      logger.error({ err }, 'what is held here could not be told to others');
    }
  }

  /** `node.zone`, else the zone of one's own endpoint; the one known last, should the endpoint go. */
  #learnZone(candidates: readonly Candidate[]): void {
    const { settings, logger } = this.#options;
    const zone = candidates.find((candidate) => candidate.self && candidate.zone)?.zone;
    if (settings.node.zone !== '' || zone === undefined || zone === this.roster.self.zone) return;
    this.roster.updateSelf({ zone });
    logger.info({ zone }, "this node's zone is that of its endpoint");
  }

  #rememberNowAndThen(): void {
    const timer = setInterval(() => void this.#remember(), REMEMBER_MS).unref();
    this.#stops.push(() => clearInterval(timer));
  }

  #remember(): Promise<void> {
    return this.#met.save(this.others.map(({ dataAddress }) => dataAddress));
  }

  /** Passes a drop on to every other member. @returns each one's answer, or its failure. */
  async askAll(body: unknown, signal: AbortSignal): Promise<Asked[]> {
    return Promise.all(
      this.others.map(async (member) => {
        const { nodeName } = member;
        try {
          return { nodeName, answer: await this.#client.call(member, 'purge', body, { signal, timeoutMs: PURGE_MS }) };
        } catch (error) {
          return { nodeName, error };
        }
      }),
    );
  }

  /** What this agent keeps for others of something that was dropped. */
  async forget(target: DropTarget): Promise<void> {
    const key =
      target.kind === 'digest' ? this.swarm.blobKey(target.digest) : await this.swarm.tagKey(target.name, target.tag);
    this.#claims.keeper.forget(key);
  }

  /** In order: nobody names this agent as a keeper from now on, and the next ones know what it kept. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.#discovery.stop();
    await this.#remember();
    await this.roster.leave();
    await this.router.stop(AbortSignal.timeout(HAND_OVER_MS));
  }

  /** What is still being sent may end until the signal. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#server.drain(signal);
  }

  /** Closes everything. Idempotent. */
  async stop(): Promise<void> {
    this.#left = true;
    for (const stop of this.#stops.splice(0)) stop();
    // An agent whose start failed has not left: what looks for others would look for ever.
    await this.#discovery.stop();
    await this.#claims.stop();
    this.roster.stop();
    await this.#control.stop();
    await this.#server.stop();
    this.#client.close();
  }
}

/** As discovery writes it. */
function hostPortOf(multiaddress: string): string {
  const parsed = parseMultiaddr(multiaddress);
  return parsed === undefined ? multiaddress : formatListenAddress(parsed);
}
