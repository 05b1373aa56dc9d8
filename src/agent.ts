import type { Logger } from 'pino';
import type { Settings } from './config/settings.ts';
import { readVersion } from './config/version.ts';
import { Metrics } from './metrics/metrics.ts';
import { MirrorServer } from './mirror/mirror-server.ts';
import { Blobs } from './pull/blobs.ts';
import { Descriptors } from './pull/descriptors.ts';
import { Manifests } from './pull/manifests.ts';
import { Tags } from './pull/tags.ts';
import { AdminServer } from './status/admin-server.ts';
import { StatusReport } from './status/status-report.ts';
import { StatusServer } from './status/status-server.ts';
import { DiskBlobStore } from './store/disk-blob-store.ts';
import { DiskTagStore } from './store/disk-tag-store.ts';
import { createRegistries } from './upstream/registries.ts';

export interface Agent {
  /** Serves when it resolves. Rejects with the cause, everything closed again. */
  start(): Promise<void>;
  /** Lets running pulls end for up to `stop.gracePeriod`, keeps the rest for resuming. Idempotent. */
  stop(): Promise<void>;
  /** `host:port` of each listener, once started. */
  readonly mirrorAddresses: readonly string[];
  readonly statusAddress: string;
}

/** The composition root: settings in, a startable agent out. Nothing else wires rooms together. */
export function createAgent(settings: Settings, { logger }: { readonly logger: Logger }): Agent {
  const metrics = new Metrics();
  const store = new DiskBlobStore({
    path: settings.store.path,
    maxBytes: settings.store.maxSize,
    minFreeShare: settings.store.minFree,
    partialMaxAgeMs: settings.ingest.partialMaxAge,
    scrubBytesPerSecond: settings.store.scrubRate,
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
    userAgent: `windlass/${readVersion()}`,
    logger: logger.child({ room: 'upstream' }),
    metrics,
  });
  const pullLogger = logger.child({ room: 'pull' });
  const descriptors = new Descriptors();
  const manifests = new Manifests({ store, registries, descriptors, logger: pullLogger, metrics });
  const blobs = new Blobs({
    store,
    registries,
    descriptors,
    finishLimitBytes: settings.ingest.finishLimit,
    logger: pullLogger,
    metrics,
  });
  const tags = new Tags({
    tags: tagStore,
    manifests,
    registries,
    maxAgeMs: settings.tags.maxAge,
    staleWhenDown: settings.tags.staleWhenDown,
    logger: pullLogger,
    metrics,
  });
  const mirror = new MirrorServer({
    listen: settings.mirror.listen,
    defaultRegistry: settings.mirror.defaultRegistry,
    headersTimeoutMs: settings.mirror.headersTimeout,
    writeTimeoutMs: settings.mirror.writeTimeout,
    maxConnections: settings.mirror.maxConnections,
    registries,
    blobs,
    manifests,
    tags,
    logger: logger.child({ room: 'mirror' }),
    metrics,
  });
  const status = new StatusServer({
    listen: settings.status.listen,
    metrics,
    blobs,
    report: new StatusReport({
      node: settings.node.name,
      zone: settings.node.zone,
      version: readVersion(),
      discovery: settings.discovery.kind,
      transfers: () => blobs.running(),
      store: () => store.stats(),
      metrics,
    }),
    refresh: () => {
      const stats = store.stats();
      metrics.storeBlobs.set(stats.blobs);
      metrics.storeBytes.set(stats.blobBytes);
      metrics.storeIngestBytes.set(stats.ingestBytes);
      metrics.storeMaxBytes.set(stats.maxBytes);
    },
  });

  const admin = new AdminServer({
    storePath: settings.store.path,
    drop: async (target) => {
      const node = settings.node.name;
      if (target.kind === 'tag') {
        const had = await tagStore.delete(target.name, target.tag);
        return [{ node, self: true, removed: had ? [{ what: 'tag' }] : [] }];
      }
      const sizeBytes = store.stat(target.digest)?.sizeBytes;
      const had = await store.delete(target.digest);
      return [{ node, self: true, removed: had ? [{ what: 'blob', sizeBytes }] : [] }];
    },
    logger: logger.child({ room: 'status' }),
  });

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    status.ready = false;
    const enough = AbortSignal.timeout(settings.stop.gracePeriod);
    await admin.stop();
    await mirror.drain(enough);
    // What is left ends with FIN: clients go on at their registry, and the bytes wait for the next start.
    await blobs.stop();
    await mirror.stop();
    await registries.close();
    await store.stop();
    await status.stop();
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
      // From 0 on, or a query of what increased would miss the first.
      for (const { host } of settings.registries) metrics.tagStale.inc({ registry: host }, 0);
      try {
        // First, so that probes tell "not ready" from "not there" while a large store is being opened.
        await status.start();
        await store.start();
        await mirror.start();
        await startAdmin(admin, logger);
      } catch (error) {
        await Promise.allSettled([admin.stop(), mirror.stop(), store.stop(), registries.close(), status.stop()]);
        throw error;
      }
      status.ready = true;
      logger.info({ node: settings.node.name, store: settings.store.path, status: status.address }, 'agent is ready');
    },
    stop() {
      stopping ??= stop();
      return stopping;
    },
    get mirrorAddresses() {
      return mirror.addresses;
    },
    get statusAddress() {
      return status.address;
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
