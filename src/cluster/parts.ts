import { join } from 'node:path';
import type { Logger } from 'pino';
import { formatListenAddress } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { createDiscovery } from '../discovery/create-discovery.ts';
import type { Discovery } from '../discovery/discovery.ts';
import { WindlassError } from '../errors.ts';
import type { Metrics, ZoneLabel } from '../metrics/metrics.ts';
import { PeerClient } from '../peer/peer-client.ts';
import { PeerServer } from '../peer/peer-server.ts';
import { type ClaimsParts, createClaims } from '../pull/claims/create-claims.ts';
import type { Holdings } from '../pull/holdings.ts';
import { knownTags } from '../pull/known-tags.ts';
import type { PeerOffers } from '../pull/peer-streams.ts';
import { Swarm } from '../pull/swarm.ts';
import { UplinkStrain } from '../pull/uplink-strain.ts';
import { ClusterSecrets } from '../routing/cluster-secret.ts';
import { type Control, createControl } from '../routing/control/control.ts';
import { type Identity, loadIdentity } from '../routing/identity.ts';
import { verifySignature } from '../routing/identity-signature.ts';
import { KeeperIndex } from '../routing/keeper-index.ts';
import { Libp2pRouter } from '../routing/libp2p-router.ts';
import { LiveRoster } from '../routing/live-roster.ts';
import { WIRE_VERSION } from '../routing/member.ts';
import type { CallHandler } from '../routing/peer-calls.ts';
import type { TagStore } from '../store/tag-store.ts';
import { systemTimers } from '../time/timers.ts';
import type { Registries } from '../upstream/registry-client.ts';
import { keyedFingerprint } from './keyed-fingerprint.ts';

export interface ClusterOptions {
  readonly settings: Settings;
  readonly holdings: Holdings;
  readonly tagStore: TagStore;
  readonly registries: Registries;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** For tests of an older and a newer agent. */
  readonly wireVersion?: number | undefined;
  /** For tests: what stands for `/` of this agent's Pod. */
  readonly podRoot?: string | undefined;
}

/** What only exists when the cluster does: this agent's pulls, and what others may purge here. */
export interface ClusterEnds {
  readonly offers: PeerOffers;
  /** POST /windlass/v1/purge. */
  readonly purge: CallHandler;
}

/** Made and wired; only the peer server runs, which declines. */
export interface Parts {
  readonly swarm: Swarm;
  readonly server: PeerServer;
  readonly client: PeerClient;
  readonly control: Control;
  readonly roster: LiveRoster;
  readonly router: Libp2pRouter;
  readonly claims: ClaimsParts;
  readonly index: KeeperIndex;
  readonly discovery: Discovery;
  readonly late: Late;
}

/** Known later than the server, which is told with them. */
export interface Late {
  parts?: Parts;
  /** From `start` on. */
  ends?: ClusterEnds;
}

/** @returns with the peer server listening; it is closed again where this rejects */
export async function createParts(options: ClusterOptions): Promise<Parts> {
  const { settings, logger } = options;
  const identity = await loadIdentity({
    storePath: settings.store.path,
    nodeName: settings.node.name,
    logger: logger.child({ room: 'routing' }),
  });
  const secrets = new ClusterSecrets(
    settings.cluster.insecure
      ? 'insecure'
      : { files: settings.cluster.secretFile, logger: logger.child({ room: 'routing' }) },
  );
  await secrets.load();
  if (secrets.insecure) logger.warn('cluster.insecure: whoever reaches the ports is a member of this cluster');
  const late: Late = {};
  const server = createServer(options, identity, secrets, late);
  await server.start();
  try {
    late.parts = await wireParts(options, { identity, secrets, server, late });
    return late.parts;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function createServer(
  { settings, logger, metrics }: ClusterOptions,
  identity: Identity,
  secrets: ClusterSecrets,
  late: Late,
): PeerServer {
  const notYet = () => new WindlassError('PEER_BUSY', 'this agent is starting');
  const parts = () => {
    if (late.parts === undefined) throw notYet();
    return late.parts;
  };
  return new PeerServer({
    listen: settings.peer.listen,
    announce: settings.peer.announce && formatListenAddress(settings.peer.announce),
    encryption: settings.peer.encryption,
    maxUploads: settings.peer.maxUploads,
    uploadRateBytesPerSecond: settings.peer.uploadRate,
    identity,
    secrets,
    handlers: {
      claims: async (from, body, signal) => parts().claims.handleClaims(from, body, signal),
      index: async (from, body) => parts().router.handle(from, body),
      roster: async (from, body, signal) => parts().roster.handleRoster(from, body, signal),
      purge: async (from, body, signal) => {
        if (late.ends === undefined) throw notYet();
        return late.ends.purge(from, body, signal);
      },
    },
    offers: {
      offer: async (digest, options) => late.ends?.offers.offer(digest, options),
    },
    logger: logger.child({ room: 'peer' }),
    metrics,
  });
}

async function wireParts(
  { settings, tagStore, registries, logger, metrics, wireVersion = WIRE_VERSION, podRoot }: ClusterOptions,
  made: {
    readonly identity: Identity;
    readonly secrets: ClusterSecrets;
    readonly server: PeerServer;
    readonly late: Late;
  },
): Promise<Parts> {
  const { identity, secrets, server, late } = made;
  const timers = systemTimers;
  const routingLogger = logger.child({ room: 'routing' });
  const client = new PeerClient({
    encryption: settings.peer.encryption,
    identity,
    secrets,
    connectTimeoutMs: settings.peer.connectTimeout,
    firstByteTimeoutMs: settings.peer.firstByteTimeout,
    stallTimeoutMs: settings.peer.stallTimeout,
    zoneOf: (peerId) => zoneLabel(roster.self.zone, roster.get(peerId)?.zone),
    logger: logger.child({ room: 'peer' }),
    metrics,
  });
  const control = await createControl({
    identity,
    secrets,
    listen: settings.p2p.listen,
    announce: settings.p2p.announce,
    selfEntry: () => roster.signedSelf,
    logger: routingLogger,
    metrics,
    wireVersion,
  });
  const roster: LiveRoster = new LiveRoster(
    {
      peerId: identity.peerId,
      incarnation: identity.incarnation,
      nodeName: settings.node.name,
      zone: settings.node.zone,
      dataAddress: server.dataAddress,
      p2pAddresses: [],
    },
    {
      sign: (bytes) => identity.sign(bytes),
      verify: verifySignature,
      calls: client,
      news: control.news,
      timers,
      logger: routingLogger,
      wireVersion,
    },
  );
  const index = new KeeperIndex({ isLive: (peerId) => roster.isLive(peerId), timers });
  const discovery = createDiscovery(settings.discovery, {
    nodeName: settings.node.name,
    timers,
    logger: logger.child({ room: 'discovery' }),
    podRoot,
  });
  if (discovery === undefined) throw new WindlassError('INVALID_SETTINGS', 'discovery.kind none has no cluster');
  const uplink = () => settings.peer.uploadRate || server.uplink;
  const strain = new UplinkStrain(uplink);
  const claims = createClaims({
    roster,
    calls: client,
    index,
    timers,
    timeoutMs: settings.claims.timeout,
    ratesPath: join(settings.store.path, 'rates.json'),
    uplink,
    carries: () => settings.peer.uploadRate || strain.carries,
    carriesAtLeast: () => strain.carriesAtLeast,
    isStrained: () => strain.isStrained(timers.now()),
    heard: (digest) => router.heard(digest),
    logger: logger.child({ room: 'pull' }),
    metrics,
  });
  const swarm: Swarm = new Swarm({
    claims: claims.claimer,
    streams: client,
    roster,
    sign: (message) => identity.sign(message),
    verify: verifySignature,
    fingerprint: async ({ registry, repository }) => {
      const fingerprint = await registries.get(registry).credentialsFingerprint(repository);
      // Asked for each time: the secret may be another by now, and agents must agree on it.
      const [key = Buffer.alloc(0)] = await secrets.keys('windlass/credentials/1');
      return fingerprint && keyedFingerprint(key, fingerprint);
    },
    meet: async (peerId) => {
      const member = roster.get(peerId);
      if (member !== undefined) await roster.exchangeWith(member);
    },
    strain,
    bounds: { openMs: settings.peer.firstByteTimeout },
    logger: logger.child({ room: 'pull' }),
    metrics,
  });
  const router: Libp2pRouter = new Libp2pRouter({
    roster,
    calls: client,
    index,
    timers,
    dht: control.dht,
    news: control.news,
    tags: () => knownTags(tagStore, swarm),
    logger: routingLogger,
  });
  return { swarm, server, client, control, roster, router, claims, index, discovery, late };
}

function zoneLabel(own: string, other: string | undefined): ZoneLabel {
  if (own === '' || other === undefined || other === '') return 'unknown';
  return own === other ? 'same' : 'other';
}
