import type { GossipSub } from '@libp2p/gossipsub';
import { type Identify, identify } from '@libp2p/identify';
import type { Ed25519PrivateKey, ServiceMap } from '@libp2p/interface';
import type { KadDHT } from '@libp2p/kad-dht';
import { type Ping, ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2p } from 'libp2p';
import type { ClusterSecrets } from '../cluster-secret.ts';
import type { PeerId } from '../member.ts';
import { BoundedDatastore } from './bounded-datastore.ts';
import { type Door, MAX_CONNECTIONS } from './door.ts';
import { newsService } from './gossip-news.ts';
import { dhtService } from './hints-dht.ts';
import { membershipTls } from './membership-tls.ts';

interface Services extends ServiceMap {
  identify: Identify;
  ping: Ping;
  dht: KadDHT;
  pubsub: GossipSub;
}
export type ControlNode = Libp2p<Services>;

export interface Libp2pNodeOptions {
  readonly privateKey: Ed25519PrivateKey;
  readonly self: PeerId;
  readonly secrets: ClusterSecrets;
  readonly door: Door;
  /** Multiaddresses. */
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  /** Is it one that this agent's own dial loop is dialling? */
  readonly isOwnDial: (peerId: PeerId) => boolean;
}

const PREFIX = 'windlass';
const LOOPBACK = /^\/ip4\/127\.|^\/ip6\/::1\//;

/** Of an agent that listens everywhere: on another node loopback would lead that one to itself. */
export function withoutLoopback(addresses: Multiaddr[]): Multiaddr[] {
  const reachable = addresses.filter((address) => !LOOPBACK.test(address.toString()));
  return reachable.length > 0 ? reachable : addresses;
}

/** Under which libp2p notes in its datastore what it knows of the owner of the key. */
export function nameOfNote(privateKey: Ed25519PrivateKey): string {
  return `/peers/${privateKey.publicKey.toCID().toString()}`;
}

/** libp2p with our door. Not started. */
export function createNode(options: Libp2pNodeOptions): Promise<ControlNode> {
  const { privateKey, self, secrets, door, listen, announce, isOwnDial } = options;
  return createLibp2p<Services>({
    privateKey,
    start: false,
    addresses: { listen: [...listen], announce: [...announce], announceFilter: withoutLoopback },
    transports: [tcp()],
    connectionEncrypters: [secrets.insecure ? tls() : membershipTls({ secrets, self, door })],
    streamMuxers: [yamux()],
    datastore: new BoundedDatastore({ kept: nameOfNote(privateKey) }),
    // The default, an hour, leaves providers without an address.
    peerStore: { maxAddressAge: 24 * 3_600_000, maxPeerAge: 48 * 3_600_000 },
    connectionManager: {
      // The door counts; libp2p's own bound is for what the door does not see.
      maxConnections: MAX_CONNECTIONS + 10,
      // So many as are through with their handshakes in a second or two; who is refused comes again.
      maxIncomingPendingConnections: 24,
      inboundConnectionThreshold: 200,
      inboundUpgradeTimeout: 8_000,
      dialTimeout: 10_000,
      addressDialTimeout: 8_000,
      maxParallelDials: 6,
      reconnectRetries: 0,
    },
    connectionMonitor: {
      protocolPrefix: PREFIX,
      pingInterval: 10_000,
      pingTimeout: { minTimeout: 5_000, maxTimeout: 10_000 },
    },
    connectionGater: {
      denyInboundConnection: (connection) => {
        if (!secrets.insecure) door.knock(connection);
        return false;
      },
      denyDialPeer: (peerId) => !isOwnDial(peerId.toString()) && !door.mayDial(peerId.toString()),
      denyDialMultiaddr: () => door.isFull,
      denyInboundEncryptedConnection: (peerId, connection) => !door.enterIncoming(connection, peerId.toString()),
      denyOutboundEncryptedConnection: (peerId, connection) => !door.enterOutgoing(connection, peerId.toString()),
    },
    services: {
      identify: identify({ protocolPrefix: PREFIX }),
      ping: ping({ protocolPrefix: PREFIX }),
      dht: dhtService(),
      pubsub: newsService(),
    },
    nodeInfo: { name: PREFIX, version: '1', userAgent: PREFIX },
  });
}
