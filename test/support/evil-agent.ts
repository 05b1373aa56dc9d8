import { pino } from 'pino';
import { Metrics } from '../../src/metrics/metrics.ts';
import { PeerClient } from '../../src/peer/peer-client.ts';
import { type ClaimsParts, createClaims } from '../../src/pull/claims/create-claims.ts';
import { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import { type Control, createControl } from '../../src/routing/control/control.ts';
import { type Identity, loadIdentity } from '../../src/routing/identity.ts';
import { verifySignature } from '../../src/routing/identity-signature.ts';
import { IndexExchange } from '../../src/routing/index-exchange.ts';
import { KeeperIndex } from '../../src/routing/keeper-index.ts';
import { LiveRoster } from '../../src/routing/live-roster.ts';
import type { Member, PeerId } from '../../src/routing/member.ts';
import { packDigests } from '../../src/routing/packed-digests.ts';
import type { CallPath } from '../../src/routing/peer-calls.ts';
import { systemTimers } from '../../src/time/timers.ts';
import type { BlobLie, Truth } from './evil-agent-blobs.ts';
import { answerJson, type EvilRequest, EvilServer } from './evil-agent-server.ts';
import type { Scratch } from './scratch.ts';

export interface EvilOptions {
  readonly secretFile: string;
  /** `host:port` of libp2p of those that it joins. */
  readonly seeds: readonly string[];
}

/** Answers a call in its own way. @returns `honest`: it shall be answered as an honest agent would. */
export type CallLie = (body: unknown, request: EvilRequest) => unknown;

/**
 * A member of the cluster that lies. Put together from our own parts: it knows the secret, says hello, has a roster,
 * keeps what falls to it; and where it was told a lie, it tells that instead.
 */
export class EvilAgent {
  static #count = 0;

  /** What it says of blobs; undefined: it has none. */
  blobLie: BlobLie | undefined;
  /** What it says to calls. */
  readonly callLies: Partial<Record<CallPath, CallLie>> = {};
  /** What it knows of blobs, to lie about. */
  readonly truths = new Map<string, Truth>();
  /** Who asked it for a blob. */
  readonly asked: { readonly from: PeerId; readonly digest: string }[] = [];
  /** How often it was called. */
  readonly calls: Record<string, number> = {};
  readonly identity: Identity;
  readonly client: PeerClient;
  readonly roster: LiveRoster;
  readonly control: Control;
  readonly #server: EvilServer;
  readonly #claims: ClaimsParts;
  readonly #index: IndexExchange;
  #stopped = false;

  private constructor(identity: Identity, client: PeerClient, parts: EvilParts) {
    this.identity = identity;
    this.client = client;
    this.#server = parts.server;
    this.control = parts.control;
    this.roster = parts.roster;
    this.#claims = parts.claims;
    this.#index = parts.index;
  }

  static async start(scratch: Scratch, { secretFile, seeds }: EvilOptions): Promise<EvilAgent> {
    EvilAgent.#count += 1;
    const nodeName = `evil-${EvilAgent.#count}`;
    const logger = pino({ level: 'silent' });
    const metrics = new Metrics();
    const identity = await loadIdentity({ storePath: scratch.join(nodeName), nodeName, logger });
    const secrets = new ClusterSecrets({ files: [secretFile], logger });
    await secrets.load();
    const server: EvilServer = new EvilServer(identity, secrets, {
      call: (path, body, request) => agent.#call(path, body, request),
      blob: (digest, offset, request) => agent.#blob(digest, offset, request),
    });
    await server.start();
    const client = new PeerClient({ encryption: 'tls', identity, secrets, logger, metrics });
    const control = await createControl({
      identity,
      secrets,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      selfEntry: () => roster.signedSelf,
      logger,
      metrics,
    });
    const { peerId, incarnation } = identity;
    const self = { peerId, incarnation, nodeName, zone: '', dataAddress: server.address, p2pAddresses: [] };
    const roster: LiveRoster = new LiveRoster(self, {
      sign: (bytes) => identity.sign(bytes),
      verify: verifySignature,
      calls: client,
      news: control.news,
      timers: systemTimers,
      logger,
    });
    const holders = new KeeperIndex({ isLive: (id) => roster.isLive(id), timers: systemTimers });
    const claims = createClaims({ roster, calls: client, index: holders, logger, metrics });
    const index = new IndexExchange({ roster, calls: client, index: holders });
    const agent = new EvilAgent(identity, client, { server, control, roster, claims, index });
    scratch.defer(() => agent.stop());
    roster.subscribe(() => control.setMembers(agent.others));
    control.onHello((entry, from) => void roster.merge([entry], from));
    roster.start();
    await control.start();
    roster.updateSelf({ p2pAddresses: control.multiaddrs });
    control.setSeeds(seeds);
    return agent;
  }

  get peerId(): PeerId {
    return this.identity.peerId;
  }

  /** Of its data plane. */
  get dataAddress(): string {
    return this.#server.address;
  }

  get others(): readonly Member[] {
    return this.roster.members().filter(({ peerId }) => peerId !== this.peerId);
  }

  isKeeperOf(digest: string): boolean {
    return this.roster.keepers(`blob:${digest}`, 1)[0]?.peerId === this.peerId;
  }

  /** Says to the keeper, to both deputies, and in the index that it holds them. It does not. */
  async claimToHold(truths: readonly Truth[], source: string): Promise<void> {
    for (const truth of truths) this.truths.set(truth.digest, truth);
    const { incarnation } = this.identity;
    const reports = truths.map(({ digest, bytes }) => {
      return { key: `blob:${digest}`, incarnation, source, state: 'held', sizeBytes: bytes.length };
    });
    await this.tellAll('claims', { type: 'reports', reports });
    await this.tellAll('index', announcement(truths.map(({ digest }) => digest)));
  }

  /** Calls each of the others; what they answer is their affair. @returns how many took it. */
  async tellAll(path: CallPath, body: unknown): Promise<number> {
    const options = { signal: AbortSignal.timeout(30_000), timeoutMs: 30_000 };
    const told = await Promise.allSettled(this.others.map((other) => this.client.call(other, path, body, options)));
    return told.filter(({ status }) => status === 'fulfilled').length;
  }

  /** Leaves in order, so that the others know it at once. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.roster.leave();
    await this.#claims.stop();
    this.roster.stop();
    await this.control.stop();
    await this.#server.stop();
    this.client.close();
  }

  /** As an honest agent would answer it. */
  async honestly(path: CallPath, body: unknown, { from, response }: EvilRequest): Promise<unknown> {
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('the caller left')));
    if (path === 'claims') return this.#claims.handleClaims(from, body, left.signal);
    if (path === 'roster') return this.roster.handleRoster(from, body, left.signal);
    return path === 'index' ? this.#index.handle(from, body) : {};
  }

  async #call(path: CallPath, body: unknown, request: EvilRequest): Promise<void> {
    this.calls[path] = (this.calls[path] ?? 0) + 1;
    const lie = this.callLies[path];
    const said = lie === undefined ? 'honest' : await lie(body, request);
    if (request.response.headersSent || said === NOTHING) return;
    answerJson(request, said === 'honest' ? await this.honestly(path, body, request) : said);
  }

  async #blob(digest: string, offset: number, request: EvilRequest): Promise<void> {
    this.asked.push({ from: request.from, digest });
    const truth = this.truths.get(digest);
    if (truth !== undefined && this.blobLie !== undefined) {
      await this.blobLie(offset, request, truth, this.identity);
    } else request.response.writeHead(404, { ...request.proof, 'content-length': 0 }).end();
  }
}

/** Of a lie: it never answers. */
export const NOTHING = Symbol('nothing');

export function announcement(digests: Iterable<string>): object {
  return { type: 'announce', full: false, add: packDigests(digests), remove: packDigests([]), tags: [] };
}

interface EvilParts {
  readonly server: EvilServer;
  readonly control: Control;
  readonly roster: LiveRoster;
  readonly claims: ClaimsParts;
  readonly index: IndexExchange;
}
