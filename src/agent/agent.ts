import type { Logger } from 'pino';
import type { Cluster } from '../cluster/cluster.ts';
import type { Settings } from '../config/settings.ts';
import { readVersion } from '../config/version.ts';
import { createStartupTaint } from '../kubernetes/startup-taint.ts';
import { Metrics } from '../metrics/metrics.ts';
import { createContents } from '../pull/create-contents.ts';
import { Holdings } from '../pull/holdings.ts';
import { KeptOnce } from '../pull/kept-once.ts';
import type { AdminServer } from '../status/admin-server.ts';
import { History } from '../status/history.ts';
import { StatusReport } from '../status/status-report.ts';
import { StatusServer } from '../status/status-server.ts';
import { DiskBlobStore } from '../store/disk-blob-store.ts';
import { DiskTagStore } from '../store/disk-tag-store.ts';
import { HashPool } from '../store/hash-pool.ts';
import { systemTimers } from '../time/timers.ts';
import { createRegistries } from '../upstream/registries.ts';
import { createServing, type Serving } from './serving.ts';

export interface Agent {
  /** Serves when it resolves. Rejects with the cause, everything closed again. */
  start(): Promise<void>;
  /** Lets running pulls end for up to `stop.gracePeriod`, keeps the rest for resuming. Idempotent. */
  stop(): Promise<void>;
  /** `host:port` of each listener, once started. */
  readonly mirrorAddresses: readonly string[];
  readonly statusAddress: string;
  /** Once started; undefined for a lone agent. */
  readonly cluster: Cluster | undefined;
}

export interface AgentOptions {
  readonly logger: Logger;
  /** For tests of an older and a newer agent. */
  readonly wireVersion?: number;
  /** For tests: the folder that stands for `/` of this agent's Pod, with its service account. */
  readonly podRoot?: string;
}

/** The composition root: settings in, a startable agent out. Nothing else, but for the room `cluster`, wires rooms together. */
export function createAgent(settings: Settings, { logger, wireVersion, podRoot }: AgentOptions): Agent {
  const metrics = new Metrics();
  const hashes = new HashPool();
  const version = readVersion();
  const store = new DiskBlobStore({
    path: settings.store.path,
    maxBytes: settings.store.maxSize,
    minFreeShare: settings.store.minFree,
    partialMaxAgeMs: settings.ingest.partialMaxAge,
    scrubBytesPerSecond: settings.store.scrubRate,
    hashes,
    logger: logger.child({ room: 'store' }),
    metrics,
  });
  const tagStore = new DiskTagStore({ path: settings.store.path, logger: logger.child({ room: 'store' }) });
  const registries = createRegistries({
    registries: settings.registries,
    proxy: settings.upstream.proxy,
    ca: settings.upstream.ca,
    maxRequests: settings.upstream.maxRequests,
    connectTimeoutMs: settings.upstream.connectTimeout,
    headersTimeoutMs: settings.upstream.headersTimeout,
    stallTimeoutMs: settings.upstream.stallTimeout,
    userAgent: `windlass/${version}`,
    logger: logger.child({ room: 'upstream' }),
    metrics,
  });
  const startupTaint = createStartupTaint(settings.node.startupTaint, {
    nodeName: settings.node.name,
    timers: systemTimers,
    logger: logger.child({ room: 'kubernetes' }),
    podRoot,
  });
  const contents = createContents(settings, { registries, hashes, logger, metrics });
  const holdings = new Holdings(store, contents?.blobs);
  let keptOnce: KeptOnce | undefined;
  let cluster: Cluster | undefined;
  let serving: Serving | undefined;
  const running = () => {
    const { blobs, offers } = serving ?? {};
    return blobs?.running().map((ingest) => ({ ...ingest, to: offers?.childrenOf(ingest.digest) ?? [] })) ?? [];
  };
  const history = new History(metrics);
  const nameOf = (peerId: string) =>
    peerId === cluster?.peerId ? settings.node.name : cluster?.roster.get(peerId)?.nodeName;
  const zone = () => cluster?.roster.self.zone ?? settings.node.zone;
  const status = new StatusServer({
    listen: settings.status.listen,
    metrics,
    blobs: { running },
    report: new StatusReport({
      node: settings.node.name,
      zone,
      version,
      discovery: settings.discovery.kind,
      peerId: () => cluster?.peerId,
      peers: () => cluster?.others.map((member) => ({ ...member, state: 'live' as const })) ?? [],
      gone: () =>
        cluster?.roster.gone().map(({ member: { nodeName, zone, dataAddress, p2pAddresses }, ...how }) => ({
          ...{ nodeName, zone, dataAddress, p2pAddresses },
          ...how,
        })) ?? [],
      unmet: () => cluster?.unmet ?? [],
      nameOf,
      transfers: running,
      store: () => store.stats(),
      history,
      metrics,
    }),
    history,
    recent: (sinceSequence) => serving?.blobs.recent.since(sinceSequence) ?? [],
    nameOf,
    names: settings.status.names,
    logger: logger.child({ room: 'status' }),
    refresh: () => {
      const stats = store.stats();
      metrics.ready.set(status.ready ? 1 : 0);
      // Discovery may tell another zone.
      metrics.info.reset();
      const { node, discovery } = settings;
      metrics.info.set({ version, node_name: node.name, zone: zone(), discovery: discovery.kind }, 1);
      metrics.storeBlobs.set(stats.blobs);
      metrics.storeBytes.set(stats.blobBytes);
      metrics.storeIngestBytes.set(stats.ingestBytes);
      metrics.storeMaxBytes.set(stats.maxBytes);
      contents?.refreshMetrics();
      cluster?.refreshMetrics();
    },
  });

  const start = async () => {
    // First, so that probes tell "not ready" from "not there" while a large store is being opened.
    await status.start();
    await store.start();
    contents?.start();
    if (contents !== undefined && !settings.containerd.keepTwice) {
      keptOnce = new KeptOnce({ store, content: contents.blobs, logger: logger.child({ room: 'store' }) });
    }
    if (settings.discovery.kind !== 'none') {
      // Only now: a lone agent does without the memory that libp2p takes.
      const { Cluster } = await import('../cluster/cluster.ts');
      cluster = await Cluster.create({
        settings,
        holdings,
        tagStore,
        registries,
        logger,
        metrics,
        wireVersion,
        podRoot,
      });
    }
    serving = createServing({
      settings,
      store,
      tagStore,
      content: contents?.blobs,
      registries,
      cluster,
      logger,
      metrics,
    });
    const { purge, offers, mirror, admin } = serving;
    if (cluster !== undefined && offers !== undefined) {
      await cluster.start({
        offers,
        purge: (_from, body) => purge.handle(body),
      });
    }
    await mirror.start();
    await startAdmin(admin, logger);
  };

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    status.ready = false;
    const taintLeft = startupTaint?.stop();
    const enough = AbortSignal.timeout(settings.stop.gracePeriod);
    await serving?.admin.stop();
    await Promise.all([serving?.mirror.drain(enough), cluster?.leave()]);
    await cluster?.drain(enough);
    // What is left ends with FIN: clients go on at their registry, and the bytes wait for the next start.
    await serving?.blobs.stop();
    await serving?.mirror.stop();
    await cluster?.stop();
    await keptOnce?.stop();
    await contents?.stop();
    await registries.close();
    await store.stop();
    await status.stop();
    await taintLeft;
    logger.info('agent stopped');
  };

  return {
    async start() {
      for (const { host, credentials } of settings.registries) {
        if (credentials === undefined) continue;
        logger.warn(
          { registry: host },
          'credentials are configured: whatever they open can be pulled by everyone who reaches this mirror',
        );
      }
      for (const { host } of settings.registries) metrics.expectRegistry(host);
      try {
        await start();
      } catch (error) {
        await Promise.allSettled([
          serving?.admin.stop(),
          serving?.mirror.stop(),
          cluster?.stop(),
          keptOnce?.stop(),
          contents?.stop(),
          registries.close(),
          store.stop(),
          status.stop(),
        ]);
        throw error;
      }
      status.ready = true;
      startupTaint?.start();
      logger.info({ node: settings.node.name, store: settings.store.path, status: status.address }, 'agent is ready');
    },
    stop() {
      stopping ??= stop();
      return stopping;
    },
    get mirrorAddresses() {
      return serving?.mirror.addresses ?? [];
    },
    get statusAddress() {
      return status.address;
    },
    get cluster() {
      return cluster;
    },
  };
}

/** Without it blobs are served as well as ever; only `windlass drop` cannot be had. */
async function startAdmin(admin: AdminServer, logger: Logger): Promise<void> {
  try {
    await admin.start();
  } catch (error) {
    logger.error({ path: admin.path, err: error }, 'the admin socket cannot be made: windlass drop will not work');
  }
}
