import type { AddressInfo } from 'node:net';
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { IngestStatus } from '../pull/ingest-status.ts';
import type { NumberedIngest } from '../pull/recent-ingests.ts';
import { mayKnowNames, type NamesShown } from './asker.ts';
import { EventStream } from './event-stream.ts';
import type { History } from './history.ts';
import { PageFeed } from './page-feed.ts';
import { addPageRoutes } from './page-routes.ts';
import type { StatusReport } from './status-report.ts';

export interface StatusOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: Metrics;
  readonly blobs: { running(): readonly IngestStatus[] };
  readonly report: StatusReport;
  readonly history: History;
  /** Ingests that ended, numbered higher than that. */
  readonly recent: (sinceSequence: number) => readonly NumberedIngest[];
  /** Of a member, or one that was a moment ago. */
  readonly nameOf?: (peerId: string) => string | undefined;
  readonly names: NamesShown;
  /** Called before each scrape, to bring gauges up to date. */
  readonly refresh: () => void;
  readonly logger: Logger;
}

/**
 * The endpoint for those who watch: the page, /metrics, /healthz (the process answers), /readyz (pulls are served),
 * /status (AgentStatus as JSON). Nothing can be changed here.
 */
export class StatusServer {
  /** Does the mirror serve? Set by the agent. */
  ready = false;
  readonly #app: FastifyInstance;
  readonly #options: StatusOptions;
  readonly #events: EventStream;

  constructor(options: StatusOptions) {
    this.#options = options;
    const { metrics, blobs, report, names, logger } = options;
    this.#app = fastify({ logger: false, keepAliveTimeout: 75_000 });
    this.#events = new EventStream({
      feed: new PageFeed({ ...options, ready: () => this.ready }),
      onError: (err) => logger.error({ err }, 'the status page cannot be told anything'),
    });
    addPageRoutes(this.#app, { events: this.#events, names });
    this.#app.get('/metrics', async (_request, reply) => {
      options.refresh();
      return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
    });
    this.#app.get('/healthz', async () => 'ok\n');
    this.#app.get('/readyz', async (_request, reply) =>
      reply.code(this.ready ? 200 : 503).send(this.ready ? 'ready\n' : 'not ready\n'),
    );
    this.#app.get('/status', async ({ raw }) => report.read(this.ready, mayKnowNames(raw, names)));
    this.#app.get('/ingests', async ({ raw }) => {
      const origin = (all: RepositoryName) => (mayKnowNames(raw, names) ? all : { registry: all.registry });
      return { ingests: blobs.running().map((ingest) => ({ ...ingest, origin: origin(ingest.origin) })) };
    });
  }

  /** `host:port`, once started. */
  get address(): string {
    const { address, family, port } = this.#app.server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  async start(): Promise<void> {
    await this.#app.listen(this.#options.listen);
    this.#options.history.start();
  }

  async stop(): Promise<void> {
    this.#options.history.stop();
    this.#events.stop();
    this.#app.server.closeAllConnections();
    await this.#app.close();
  }
}
