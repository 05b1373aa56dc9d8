import { type Logger, pino } from 'pino';
import type { RegistrySettings } from '../../src/config/registry-settings.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { MirrorServer } from '../../src/mirror/mirror-server.ts';
import { Blobs } from '../../src/pull/blobs.ts';
import { Descriptors } from '../../src/pull/descriptors.ts';
import { Manifests } from '../../src/pull/manifests.ts';
import { Tags } from '../../src/pull/tags.ts';
import type { BlobStore } from '../../src/store/blob-store.ts';
import { MemoryBlobStore } from '../../src/store/memory-blob-store.ts';
import { MemoryTagStore } from '../../src/store/memory-tag-store.ts';
import type { TagStore } from '../../src/store/tag-store.ts';
import { createRegistries } from '../../src/upstream/registries.ts';
import type { Registries } from '../../src/upstream/registry-client.ts';

export interface LocalMirrorOptions {
  readonly logger?: Logger;
  readonly registries: readonly RegistrySettings[];
  readonly defaultRegistry?: string;
  readonly maxBytes?: number;
  readonly tagMaxAgeMs?: number;
  readonly staleWhenDown?: boolean;
  readonly headersTimeoutMs?: number;
  readonly writeTimeoutMs?: number;
  readonly stallTimeoutMs?: number;
  readonly maxConnections?: number;
  readonly finishLimitBytes?: number;
}

/** The mirror and all that is behind it, in this process, with a store in memory. */
export class LocalMirror {
  readonly metrics: Metrics;
  readonly store: BlobStore;
  readonly tagStore: TagStore;
  readonly blobs: Blobs;
  readonly #registries: Registries;
  readonly #server: MirrorServer;

  private constructor(options: LocalMirrorOptions) {
    const metrics = new Metrics();
    const logger = options.logger ?? pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
    const store = new MemoryBlobStore({ maxBytes: options.maxBytes ?? 1024 ** 3 });
    const tagStore = new MemoryTagStore();
    const registries = createRegistries({
      registries: options.registries,
      proxy: '',
      ca: [],
      stallTimeoutMs: options.stallTimeoutMs ?? 15_000,
      env: {},
      logger,
      metrics,
    });
    const descriptors = new Descriptors();
    const shared = { store, registries, descriptors, logger, metrics };
    const manifests = new Manifests(shared);
    const blobs = new Blobs({ ...shared, finishLimitBytes: options.finishLimitBytes ?? 1024 ** 3 });
    const tags = new Tags({
      ...shared,
      tags: tagStore,
      manifests,
      maxAgeMs: options.tagMaxAgeMs ?? 30_000,
      staleWhenDown: options.staleWhenDown ?? true,
    });
    this.metrics = metrics;
    this.store = store;
    this.tagStore = tagStore;
    this.blobs = blobs;
    this.#registries = registries;
    this.#server = new MirrorServer({
      listen: [{ host: '127.0.0.1', port: 0 }],
      defaultRegistry: options.defaultRegistry ?? 'docker.io',
      headersTimeoutMs: options.headersTimeoutMs ?? 20_000,
      writeTimeoutMs: options.writeTimeoutMs ?? 120_000,
      maxConnections: options.maxConnections ?? 1000,
      registries,
      blobs,
      manifests,
      tags,
      logger,
      metrics,
    });
  }

  static async start(options: LocalMirrorOptions): Promise<LocalMirror> {
    const mirror = new LocalMirror(options);
    await mirror.store.start();
    await mirror.#server.start();
    return mirror;
  }

  /** `host:port` */
  get address(): string {
    return this.#server.addresses[0] ?? '';
  }

  url(path: string): string {
    return `http://${this.address}/v2/${path}`;
  }

  drain(signal: AbortSignal): Promise<void> {
    return this.#server.drain(signal);
  }

  async stop(): Promise<void> {
    await this.blobs.stop();
    await this.#server.stop();
    await this.#registries.close();
    await this.store.stop();
  }
}
