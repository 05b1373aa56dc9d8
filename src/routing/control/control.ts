import type { Connection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import { systemTimers, type Timers } from '../../time/timers.ts';
import type { ClusterSecrets } from '../cluster-secret.ts';
import type { Identity } from '../identity.ts';
import { type PeerId, type SignedMember, WIRE_VERSION } from '../member.ts';
import { DialLoop } from './dial-loop.ts';
import { Door, ENOUGH_CONNECTIONS } from './door.ts';
import { GossipNews, type NewsListener } from './gossip-news.ts';
import { Greetings, type HelloListener } from './greetings.ts';
import { HintsDht } from './hints-dht.ts';
import { type ControlNode, createNode } from './libp2p-node.ts';
import { Refusals } from './refusals.ts';
import { seedAddress } from './seed-address.ts';

export interface ControlOptions {
  readonly identity: Identity;
  /** Loaded. */
  readonly secrets: ClusterSecrets;
  /** Multiaddresses to listen at, and those to be found at where they differ. */
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  /** Asked at each hello. */
  readonly selfEntry: () => SignedMember;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timers?: Timers;
  /** For tests of an older and a newer agent. */
  readonly wireVersion?: number;
}

/** What agents tell each other over libp2p: who they are, news, and the DHT's hints. */
export interface Control {
  /** Listens when it resolves; dials when it is told of somebody. Rejects if the address cannot be listened at. */
  start(): Promise<void>;
  /** Closes all connections. Idempotent. */
  stop(): Promise<void>;
  /** At most 8, without the peer id; once started. */
  readonly multiaddrs: readonly string[];
  /** Open ones, at most 30. */
  readonly connections: number;
  /** The members that have said hello on a connection that is open. */
  readonly peers: readonly PeerId[];
  /** What discovery found; replaces what it found before. @param hostPorts `host:port`, `[v6]:port` or multiaddresses. */
  setSeeds(hostPorts: Iterable<string>): void;
  /** Who answered at such an address, this agent itself perhaps; undefined while nobody has. */
  ownerOf(hostPort: string): PeerId | undefined;
  /** The roster's live members; replaces those before. */
  setMembers(members: Iterable<{ readonly peerId: PeerId; readonly p2pAddresses: readonly string[] }>): void;
  /** Connects once, beside the loop. @param address as in setSeeds. Rejects with the reason, which says little. */
  dial(address: string, options: { readonly signal: AbortSignal }): Promise<PeerId>;
  /** Called at each new connection, with the entry checked: its own, and of a wire version that can be talked to. */
  onHello(listener: HelloListener): () => void;
  /** Called when the last connection to a peer that had said hello is closed. */
  onDisconnect(listener: (peerId: PeerId) => void): () => void;
  readonly news: {
    publish(bytes: Uint8Array): boolean;
    subscribe(listener: NewsListener): () => void;
  };
  readonly dht: Pick<HintsDht, 'provide' | 'withdraw' | 'findProviders'>;
}

/** A connection above the wanted number is let go after so long: time to say hello and to take the roster. */
const SHORT_STAY_MS = 3_000;
const PARTED_REST_MS = 60_000;
const REFUSED_REST_MS = 300_000;
const STOP_MS = 3_000;
const MAX_ADDRESSES = 8;

export async function createControl(options: ControlOptions): Promise<Control> {
  const { identity, secrets, listen, announce, selfEntry, logger, metrics, timers = systemTimers } = options;
  const self = identity.peerId;
  const refusals = new Refusals({ metrics, logger, timers });
  const door = new Door({ self, refusals, timers, changed: (count) => metrics.p2pConnections.set(count) });
  const ownDials = new Set<PeerId>();
  const node: ControlNode = await createNode({
    privateKey: identity.privateKey,
    self,
    secrets,
    door,
    listen,
    announce,
    isOwnDial: (peerId) => ownDials.has(peerId),
  });

  async function dial(addresses: readonly string[], signal: AbortSignal): Promise<PeerId> {
    const targets = addresses.map((address) => multiaddr(address));
    const peerIds = targets.flatMap((target) => peerIdIn(target) ?? []);
    for (const peerId of peerIds) ownDials.add(peerId);
    try {
      return (await node.dial(targets, { signal })).remotePeer.toString();
    } finally {
      for (const peerId of peerIds) ownDials.delete(peerId);
    }
  }

  const loop = new DialLoop({
    self,
    dial,
    takeNote: (address) => door.takeNote(address),
    isConnected: (peerId) => door.isInside(peerId),
    counts: () => ({ outgoing: door.outgoing, inAll: door.count }),
    timers,
    logger,
  });

  function letGo(connection: Connection): void {
    timers.after(SHORT_STAY_MS, () => {
      if (door.count <= ENOUGH_CONNECTIONS || connection.status !== 'open') return;
      loop.leaveAlone(connection.remotePeer.toString(), PARTED_REST_MS);
      connection.close().catch((error: Error) => connection.abort(error));
    });
  }

  const greetings = new Greetings({
    node,
    hello: { selfEntry, wireVersion: options.wireVersion ?? WIRE_VERSION },
    refusals,
    timers,
    logger,
    greeted: (connection) => {
      if (door.count > ENOUGH_CONNECTIONS) letGo(connection);
    },
    refused: (peerId) => loop.leaveAlone(peerId, REFUSED_REST_MS),
    closed: (connection, { early }) => {
      if (early) loop.leaveAlone(connection.remotePeer.toString(), PARTED_REST_MS);
      loop.parted();
    },
  });
  const news = new GossipNews({
    self,
    pubsub: node.services.pubsub,
    isPeer: (peerId) => greetings.has(peerId),
    timers,
    logger,
  });
  const { dht: kad } = node.services;
  const dht = new HintsDht({ self, kad, hasPeers: () => door.count > 0, timers, logger });

  let stopping: Promise<void> | undefined;
  async function stop(): Promise<void> {
    door.close();
    loop.stop();
    dht.stop();
    greetings.stop();
    // libp2p waits for closes that the other side may never answer.
    const stopped = Promise.resolve(node.stop()).catch((err) => logger.warn({ err }, 'libp2p did not stop in order'));
    await Promise.race([stopped, new Promise<void>((resolve) => timers.after(STOP_MS, resolve))]);
    for (const connection of node.getConnections()) connection.abort(new Error('this agent stops'));
  }

  return {
    async start() {
      await greetings.start();
      await node.start();
      news.start();
      loop.start();
    },
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
    get multiaddrs() {
      const addresses = node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/[^/]+$/, ''));
      return [...new Set(addresses)].slice(0, MAX_ADDRESSES);
    },
    get connections() {
      return door.count;
    },
    get peers() {
      return greetings.peers;
    },
    setSeeds: (hostPorts) => {
      loop.setSeeds([...hostPorts].flatMap((text) => seedAddress(text) ?? []));
    },
    ownerOf: (hostPort) => {
      const address = seedAddress(hostPort);
      return address === undefined ? undefined : loop.ownerOf(address);
    },
    setMembers: (members) => loop.setMembers(members),
    async dial(address, { signal }) {
      const target = seedAddress(address) ?? address;
      try {
        return await dial([target], signal);
      } catch (error) {
        const note = door.takeNote(target);
        if (note?.verdict === 'known') return note.peerId;
        throw error;
      }
    },
    onHello: (listener) => greetings.onHello(listener),
    onDisconnect: (listener) => greetings.onDisconnect(listener),
    news,
    dht,
  };
}

function peerIdIn(address: ReturnType<typeof multiaddr>): PeerId | undefined {
  return address.getComponents().findLast(({ name }) => name === 'p2p')?.value;
}
