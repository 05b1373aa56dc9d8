import type { Logger } from 'pino';
import type { Cluster } from '../cluster/cluster.ts';
import type { Settings } from '../config/settings.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { MirrorServer } from '../mirror/mirror-server.ts';
import { Blobs } from '../pull/blobs.ts';
import type { ContentBlobs } from '../pull/content-blobs.ts';
import { Descriptors } from '../pull/descriptors.ts';
import { Manifests } from '../pull/manifests.ts';
import { Offers } from '../pull/offers.ts';
import { Tags } from '../pull/tags.ts';
import { AdminServer } from '../status/admin-server.ts';
import { Purge } from '../status/purge.ts';
import type { DiskBlobStore } from '../store/disk-blob-store.ts';
import type { DiskTagStore } from '../store/disk-tag-store.ts';
import type { Registries } from '../upstream/registry-client.ts';

/** What serves pulls; made once it is known whether there are others to ask. */
export interface Serving {
  readonly blobs: Blobs;
  /** To others; a lone agent has none to offer to. */
  readonly offers: Offers | undefined;
  readonly purge: Purge;
  readonly mirror: MirrorServer;
  readonly admin: AdminServer;
}

interface ServingOptions {
  readonly settings: Settings;
  readonly store: DiskBlobStore;
  readonly tagStore: DiskTagStore;
  readonly content: ContentBlobs | undefined;
  readonly registries: Registries;
  readonly cluster: Cluster | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export function createServing(options: ServingOptions): Serving {
  const { settings, store, tagStore, content, registries, cluster, logger, metrics } = options;
  const pullLogger = logger.child({ room: 'pull' });
  const descriptors = new Descriptors();
  const swarm = cluster === undefined ? {} : { swarm: cluster.swarm };
  const manifests = new Manifests({ store, content, registries, descriptors, ...swarm, logger: pullLogger, metrics });
  const blobs = new Blobs({
    store,
    content,
    registries,
    descriptors,
    ...swarm,
    finishLimitBytes: settings.ingest.finishLimit,
    logger: pullLogger,
    metrics,
  });
  const tags = new Tags({
    tags: tagStore,
    manifests,
    registries,
    ...swarm,
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
  const purge = new Purge({
    node: settings.node.name,
    store,
    blobs,
    manifests,
    tags,
    forget: async (target) => cluster?.forget(target),
    others: async (body, signal) => cluster?.askAll(body, signal) ?? [],
  });
  const admin = new AdminServer({
    storePath: settings.store.path,
    drop: (target, { cluster: everywhere, signal }) => purge.drop(target, { everywhere, signal }),
    logger: logger.child({ room: 'status' }),
  });
  const offers = cluster && new Offers({ blobs, swarm: cluster.swarm });
  return { blobs, offers, purge, mirror, admin };
}
