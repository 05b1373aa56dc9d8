import type { Logger } from 'pino';
import type { Settings } from '../config/settings.ts';
import { ContainerdContent } from '../containerd/containerd-content.ts';
import { containerdPaths } from '../containerd/presets.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { HashPool } from '../store/hash-pool.ts';
import type { Registries } from '../upstream/registry-client.ts';
import { ContentBlobs } from './content-blobs.ts';
import { OpenRepositories } from './open-repositories.ts';

/** The node's containerd, and what of it is served. */
export interface Contents {
  readonly blobs: ContentBlobs;
  /** Returns at once. */
  start(): void;
  stop(): Promise<void>;
  /** To be called before metrics are read. */
  refreshMetrics(): void;
}

export interface ContentsOptions {
  readonly registries: Registries;
  readonly hashes: HashPool;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Undefined where no socket is set. */
export function createContents(
  settings: Pick<Settings, 'containerd' | 'registries'>,
  { registries, hashes, logger, metrics }: ContentsOptions,
): Contents | undefined {
  const { socket, namespace, shareWhenDown } = settings.containerd;
  if (socket === '') return undefined;
  const content = new ContainerdContent({
    socketPath: socket,
    contentDir: containerdPaths(settings.containerd, process.cwd()).contentDir,
    namespace,
    logger: logger.child({ room: 'containerd' }),
  });
  const pullLogger = logger.child({ room: 'pull' });
  const repositories = new OpenRepositories({
    registries,
    hosts: settings.registries.map(({ host }) => host),
    openWhenDown: shareWhenDown,
    logger: pullLogger,
  });
  const blobs = new ContentBlobs({ content, repositories, hashes, logger: pullLogger, metrics });
  return {
    blobs,
    start: () => content.start(),
    async stop() {
      await content.stop();
      await blobs.stop();
    },
    refreshMetrics() {
      let count = 0;
      let bytes = 0;
      for (const [, { sizeBytes }] of blobs.entries()) {
        count += 1;
        bytes += sizeBytes;
      }
      metrics.contentConnected.set(content.connected ? 1 : 0);
      metrics.contentBlobs.set(count);
      metrics.contentBytes.set(bytes);
    },
  };
}
