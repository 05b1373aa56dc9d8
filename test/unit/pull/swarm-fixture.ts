import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { Blobs } from '../../../src/pull/blobs.ts';
import type { Claimed, ClaimRequest, Claims, Lease } from '../../../src/pull/claims/claims.ts';
import { createClaims } from '../../../src/pull/claims/create-claims.ts';
import type { Parent } from '../../../src/pull/claims/messages.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import { Offers } from '../../../src/pull/offers.ts';
import type { PeerEvent, PeerStream, PeerStreams } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { Swarm, type SwarmBounds } from '../../../src/pull/swarm.ts';
import { KeeperIndex } from '../../../src/routing/keeper-index.ts';
import { type Member, type PeerId, WIRE_VERSION } from '../../../src/routing/member.ts';
import { MemoryRoster } from '../../../src/routing/memory-roster.ts';
import type { CallHandler } from '../../../src/routing/peer-calls.ts';
import type { BlobStore } from '../../../src/store/blob-store.ts';
import { systemTimers } from '../../../src/time/timers.ts';
import type { Registries, RegistryClient } from '../../../src/upstream/registry-client.ts';
import { eventually } from '../../support/eventually.ts';
import type { MemoryCalls } from '../../support/memory-calls.ts';
import { forever, logger, MIB, ORIGIN, readAll, scriptedRegistries, startedStore } from './pull-fixture.ts';
import { chunksOf, digestOf, ScriptedBody, ScriptedSource } from './scripted-source.ts';

/** One keeper for all, as plain as can be: what it is asked, it says at once. */
export class PlainKeeper {
  readonly claims: { readonly by: PeerId; readonly request: ClaimRequest; readonly answer: Claimed['kind'] }[] = [];
  readonly failures: { readonly by: PeerId; readonly key: string; readonly error: WindlassError }[] = [];
  readonly leases = new Map<
    string,
    { readonly by: PeerId; readonly lease: Lease; readonly lost: AbortController; prefix: number }
  >();
  readonly holders = new Map<string, Set<PeerId>>();
  readonly inline = new Map<string, { readonly bytes: Uint8Array; readonly ageMs: number }>();
  /** By key: child → parent. */
  readonly seats = new Map<string, Map<PeerId, PeerId>>();
  readonly refused = new Map<string, WindlassError>();
  fanOut = 2;
  /** Says something else than it would. */
  answer: ((by: PeerId, request: ClaimRequest) => Claimed | undefined) | undefined;

  of(by: PeerId): Claims {
    return {
      claim: async (request, signal) => {
        signal.throwIfAborted();
        const answer = this.answer?.(by, request) ?? this.#claim(by, request);
        this.claims.push({ by, request, answer: answer.kind });
        return answer;
      },
      held: (key, _, { bytes, ageMs = 0 }) => {
        if (this.leases.get(key)?.by === by) this.leases.delete(key);
        this.#seats(key).delete(by);
        this.#holders(key).add(by);
        if (bytes !== undefined) this.inline.set(key, { bytes, ageMs });
      },
      left: (key) => {
        this.#seats(key).delete(by);
        if (this.leases.get(key)?.by === by) this.leases.delete(key);
      },
    };
  }

  /** Another one writes by now. */
  revoke(key: string): void {
    this.leases.get(key)?.lost.abort(new WindlassError('PEER_BUSY', 'another one writes'));
    this.leases.delete(key);
  }

  writer(key: string): PeerId | undefined {
    return this.leases.get(key)?.by;
  }

  parent(peerId: PeerId, role: Parent['role']): Parent {
    return { peerId, dataAddress: `${peerId}:5051`, role };
  }

  #claim(by: PeerId, { key, source, failed, inline }: ClaimRequest): Claimed {
    const seats = this.#seats(key);
    for (const { peerId, why } of failed) {
      if (why === 'slow' || why === 'full' || why === 'cycle') continue;
      if (this.leases.get(key)?.by === peerId) this.leases.delete(key);
      if (why !== 'failed') this.#holders(key).delete(peerId);
      seats.delete(peerId);
      if (seats.get(by) === peerId) seats.delete(by);
    }
    const except = new Set([by, ...failed.map(({ peerId }) => peerId)]);
    const refusal = this.refused.get(`${key} ${source}`);
    if (refusal !== undefined) return { kind: 'failed', error: refusal, stale: undefined };
    const bytes = this.inline.get(key);
    if (inline && bytes !== undefined) return { kind: 'bytes', ...bytes };
    const holders = [...this.#holders(key)].filter((holder) => !except.has(holder));
    if (holders.length > 0) return this.#read(holders.map((holder) => this.parent(holder, 'holder')));
    const grant = this.leases.get(key);
    if (grant?.by === by) return { kind: 'write', lease: grant.lease };
    if (grant === undefined) return this.#grant(by, key, source);
    seats.delete(by);
    for (let level: PeerId[] = [grant.by]; level.length > 0; ) {
      for (const peerId of level) {
        const children = [...seats].filter(([, parent]) => parent === peerId).length;
        if (except.has(peerId) || children >= this.fanOut) continue;
        seats.set(by, peerId);
        return this.#read([this.parent(peerId, peerId === grant.by ? 'writer' : 'relay')]);
      }
      level = [...seats].filter(([child, parent]) => level.includes(parent) && child !== by).map(([child]) => child);
    }
    return this.#grant(by, key, source);
  }

  #grant(by: PeerId, key: string, source: string): Claimed {
    const lost = new AbortController();
    const grant = { by, lost, prefix: 0 } as { by: PeerId; lost: AbortController; prefix: number; lease: Lease };
    const end = () => {
      if (this.leases.get(key) === grant) this.leases.delete(key);
    };
    grant.lease = {
      lost: lost.signal,
      progress: (_, prefix) => {
        grant.prefix = prefix;
      },
      sent: () => {},
      failed: (error) => {
        this.failures.push({ by, key, error });
        if (error.code === 'NOT_FOUND') this.refused.set(`${key} ${source}`, error);
        end();
      },
      left: end,
    };
    this.#seats(key).delete(by);
    this.leases.set(key, grant);
    return { kind: 'write', lease: grant.lease };
  }

  #read(parents: Parent[]): Claimed {
    return { kind: 'read', parents, sizeBytes: undefined, replaces: undefined };
  }

  #seats(key: string): Map<PeerId, PeerId> {
    const seats = this.seats.get(key) ?? new Map();
    this.seats.set(key, seats);
    return seats;
  }

  #holders(key: string): Set<PeerId> {
    const holders = this.holders.get(key) ?? new Set();
    this.holders.set(key, holders);
    return holders;
  }
}

/** One child a node. */
export function chain(): PlainKeeper {
  const keeper = new PlainKeeper();
  keeper.fanOut = 1;
  return keeper;
}

/** Upstream, whose bytes come only as far as a test lets them. */
export class Tap {
  readonly source: ScriptedSource;
  /** Body bytes that were given out. */
  sent = 0;
  #limit = 0;
  readonly #bodies: { readonly body: ScriptedBody; readonly bytes: Uint8Array; at: number }[] = [];

  /** @param bytesOf of which blob the answers are, by their number. */
  constructor(bytes: Uint8Array, bytesOf: (index: number) => Uint8Array = () => bytes) {
    this.source = new ScriptedSource(({ offset, signal, index }) => {
      const body = new ScriptedBody(signal);
      const of = bytesOf(index);
      this.#bodies.push({ body, bytes: of, at: offset });
      this.#flow();
      return { offset, sizeBytes: of.length, body };
    });
  }

  open(limit = Number.POSITIVE_INFINITY): void {
    this.#limit = limit;
    this.#flow();
  }

  #flow(): void {
    for (const one of this.#bodies) {
      if (one.body.over) continue;
      const chunk = one.bytes.subarray(one.at, this.#limit);
      one.body.push(...chunksOf(chunk, 64 * 1024));
      one.at += chunk.length;
      this.sent += chunk.length;
      if (one.at >= one.bytes.length && chunk.length > 0) one.body.end();
    }
  }
}

/** Nodes that pull `bytes`, whose size their manifests told. */
export async function startCluster(
  nodes: number,
  source: ScriptedSource,
  bytes: Uint8Array,
  options: Partial<ClusterOptions> = {},
): Promise<PullCluster> {
  const cluster = await PullCluster.start({
    nodes,
    client: {
      getBlob: (_, digest, { offset = 0, ...rest }) => source.open(ORIGIN, digest, { offset, ...rest }),
    },
    ...options,
  });
  for (const { descriptors } of cluster.nodes) descriptors.setSize(ORIGIN, digestOf(bytes), bytes.length);
  return cluster;
}

/** All pull, each when the one before it has claimed, so that the first writes. */
export async function pullInTurn(
  cluster: PullCluster,
  digest: Digest,
  signal = forever,
  nodes = cluster.nodes,
): Promise<Promise<Buffer>[]> {
  const pulls: Promise<Buffer>[] = [];
  for (const node of nodes) {
    const before = cluster.keeper.claims.length;
    const pull = node.pull(digest, signal);
    pull.catch(() => {});
    pulls.push(pull);
    await eventually(() => cluster.keeper.claims.length > before, { everyMs: 1 });
  }
  return pulls;
}

export const writtenBy = ({ blobs }: SwarmNode): number => blobs.running()[0]?.written ?? 0;
export const wholePieces = (bytes: number): number => bytes - (bytes % PIECE_BYTES);

/** How often a node left others, by reason. */
export async function blamed({ metrics }: SwarmNode): Promise<Record<string, number>> {
  const { values } = await metrics.peerBlamed.get();
  return Object.fromEntries(
    values.filter(({ value }) => value > 0).map(({ labels, value }) => [String(labels.reason), value]),
  );
}

export interface SwarmNode {
  readonly id: PeerId;
  readonly store: BlobStore;
  readonly metrics: Metrics;
  readonly descriptors: Descriptors;
  readonly swarm: Swarm;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly offers: Offers;
  readonly registries: Registries;
  readonly sign: (message: Uint8Array) => Uint8Array;
  /** What it sends instead, where a test says so; undefined: nothing. */
  lie: ((event: PeerEvent, digest: Digest) => PeerEvent | undefined | Promise<PeerEvent | undefined>) | undefined;
  /** What it gives instead of its offer. */
  serve: ((digest: Digest, offset: number) => PeerStream | Promise<PeerStream>) | undefined;
  /** Others that open one of its streams wait for it. */
  gate: Promise<void> | undefined;
  /** Sees and hears nothing any more. */
  readonly dead: AbortController;
  pull(digest: Digest, signal?: AbortSignal): Promise<Buffer>;
}

export interface ClusterOptions {
  readonly nodes: number;
  readonly client: Partial<RegistryClient>;
  readonly bounds?: Partial<SwarmBounds>;
  readonly storeOf?: (index: number) => Promise<BlobStore>;
  readonly storeBytes?: (index: number) => number;
  readonly finishLimitBytes?: number;
  readonly keeper?: PlainKeeper;
  /** The real claims, of every node, over this network; else the plain keeper's. */
  readonly network?: MemoryCalls;
}

/** Nodes in one process, whose streams call straight into each other's offers. */
export class PullCluster {
  readonly keeper: PlainKeeper;
  readonly nodes: SwarmNode[] = [];
  /** Who opened a stream to whom. */
  readonly opened: { readonly by: PeerId; readonly to: PeerId; readonly offset: number }[] = [];
  readonly #members = new Map<PeerId, Member>();
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #verify = new Map<PeerId, (message: Uint8Array, signature: Uint8Array) => boolean>();

  static async start(options: ClusterOptions): Promise<PullCluster> {
    const cluster = new PullCluster(options.keeper ?? new PlainKeeper());
    for (let i = 0; i < options.nodes; i++) cluster.#members.set(memberOf(i).peerId, memberOf(i));
    for (let i = 0; i < options.nodes; i++) cluster.nodes.push(await cluster.#node(i, options));
    return cluster;
  }

  private constructor(keeper: PlainKeeper) {
    this.keeper = keeper;
  }

  node(index: number): SwarmNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  of(peerId: PeerId | undefined): SwarmNode {
    const node = this.nodes.find(({ id }) => id === peerId);
    if (node === undefined) throw new Error(`no node ${peerId}`);
    return node;
  }

  /** Its connections break, and nobody hears of it again. */
  async kill(node: SwarmNode): Promise<void> {
    node.dead.abort(new WindlassError('PEER_GONE', 'connection reset'));
    await node.blobs.stop();
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ blobs }) => blobs.stop()));
    await Promise.all(this.#stops.map((stop) => stop()));
  }

  async #node(index: number, options: ClusterOptions): Promise<SwarmNode> {
    const member = memberOf(index);
    const id = member.peerId;
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#verify.set(id, (message, signature) => verify(null, message, publicKey, signature));
    const dead = new AbortController();
    const metrics = new Metrics();
    dead.signal.addEventListener('abort', () => options.network?.cut(id));
    const plain = options.network === undefined ? this.keeper.of(id) : this.#claims(member, options.network, metrics);
    const whileAlive = (call: () => void) => {
      if (!dead.signal.aborted) call();
    };
    const swarm = new Swarm({
      claims: {
        claim: async (request, signal) => {
          dead.signal.throwIfAborted();
          return plain.claim(request, signal);
        },
        held: (...args) => whileAlive(() => plain.held(...args)),
        left: (...args) => whileAlive(() => plain.left(...args)),
      },
      streams: this.#streams(id, dead.signal),
      roster: { self: member, get: (peerId) => this.#members.get(peerId) },
      sign: (message) => sign(null, message, privateKey),
      verify: (signer, message, signature) => this.#verify.get(signer)?.(message, signature) ?? false,
      logger,
      metrics,
      // A busy machine is slow for a moment, and must not change what a test is about.
      bounds: { slowAfterMs: Number.POSITIVE_INFINITY, ...options.bounds },
    });
    const store = (await options.storeOf?.(index)) ?? (await startedStore(options.storeBytes?.(index)));
    const registries = scriptedRegistries(options.client);
    const descriptors = new Descriptors();
    const shared = { store, registries, descriptors, swarm, logger, metrics };
    const blobs = new Blobs({ ...shared, finishLimitBytes: options.finishLimitBytes ?? 1024 * MIB });
    const manifests = new Manifests(shared);
    return {
      id,
      store,
      metrics,
      descriptors,
      swarm,
      blobs,
      manifests,
      offers: new Offers({ blobs, swarm }),
      registries,
      sign: (message) => sign(null, message, privateKey),
      lie: undefined,
      serve: undefined,
      gate: undefined,
      dead,
      pull: async (digest, signal = forever) =>
        readAll(await blobs.open(ORIGIN, digest, { start: 0, end: undefined }, signal), { signal }),
    };
  }

  #claims(member: Member, network: MemoryCalls, metrics: Metrics): Claims {
    const handlers: { claims?: CallHandler } = {};
    const roster = new MemoryRoster(member, [...this.#members.values()], { timers: systemTimers });
    // As if it had been so for long: else each key's first claim is a question to all deputies.
    roster.changedAtMs -= 60_000;
    const index = new KeeperIndex({ isLive: (peerId) => roster.isLive(peerId), timers: systemTimers });
    const calls = network.join(member.peerId, handlers);
    const { claimer, handleClaims, stop } = createClaims({ roster, calls, index, logger, metrics });
    handlers.claims = handleClaims;
    this.#stops.push(stop);
    return claimer;
  }

  /** As peer/ does it, without a wire. */
  #streams(by: PeerId, dead: AbortSignal): PeerStreams {
    return {
      open: async (parent, digest, { offset, replaces, signal }) => {
        this.opened.push({ by, to: parent.peerId, offset });
        const node = this.of(parent.peerId);
        const cut = AbortSignal.any([signal, dead, node.dead.signal]);
        cut.throwIfAborted();
        if (node.gate !== undefined) await orAborted(node.gate, cut);
        if (node.serve !== undefined) return orAborted(Promise.resolve(node.serve(digest, offset)), cut);
        const offer = await node.offers.offer(digest, { offset, to: by, replaces, signal: cut });
        if (offer === undefined) throw new WindlassError('PEER_MISSING', `${parent.peerId} has not got ${digest}`);
        async function* events(): AsyncGenerator<PeerEvent> {
          const inner = offer?.events[Symbol.asyncIterator]();
          if (inner === undefined) return;
          try {
            for (;;) {
              const { done, value } = await orAborted(inner.next(), cut);
              if (done) return;
              const event =
                value.type === 'piece'
                  ? { ...value, piece: { ...value.piece, bytes: Buffer.from(value.piece.bytes) } }
                  : value;
              const told =
                node.lie === undefined ? event : await orAborted(Promise.resolve(node.lie(event, digest)), cut);
              if (told !== undefined) yield told;
            }
          } catch (error) {
            if (cut.aborted) throw cut.reason;
            if (!(error instanceof WindlassError)) throw error;
            throw new WindlassError('PEER_FAILED', `${error.code}: ${error.message}`, { cause: error });
          } finally {
            await inner.return?.();
          }
        }
        return { sizeBytes: offer.sizeBytes, path: offer.path, events: events() };
      },
    };
  }
}

function memberOf(index: number): Member {
  const peerId = `peer-${String(index).padStart(5, '0')}`;
  return {
    peerId,
    incarnation: 1,
    sequence: 1,
    nodeName: peerId,
    zone: '',
    dataAddress: `${peerId}:5051`,
    p2pAddresses: [],
    wireVersion: WIRE_VERSION,
    leaving: false,
  };
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {});
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
