import type { AddressInfo } from 'node:net';
import { type FastifyInstance, fastify } from 'fastify';
import type { Metrics } from '../metrics/metrics.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { StatusReport } from './status-report.ts';

export interface StatusOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: Metrics;
  readonly blobs: Pick<Blobs, 'running'>;
  readonly report: StatusReport;
  /** Called before each scrape, to bring gauges up to date. */
  readonly refresh: () => void;
}

/** The endpoint for those who watch: /metrics, /healthz (the process answers), /readyz (pulls are served), /status (AgentStatus as JSON). */
export class StatusServer {
  /** Does the mirror serve? Set by the agent. */
  ready = false;
  readonly #app: FastifyInstance;
  readonly #options: StatusOptions;

  constructor(options: StatusOptions) {
    this.#options = options;
    const { metrics, blobs, report } = options;
    this.#app = fastify({ logger: false, keepAliveTimeout: 75_000 });
    this.#app.get('/metrics', async (_request, reply) => {
      options.refresh();
      return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
    });
    this.#app.get('/healthz', async () => 'ok\n');
    this.#app.get('/readyz', async (_request, reply) =>
      reply.code(this.ready ? 200 : 503).send(this.ready ? 'ready\n' : 'not ready\n'),
    );
    this.#app.get('/status', async () => report.read(this.ready));
    this.#app.get('/ingests', async () => ({ ingests: blobs.running() }));
  }

  /** `host:port`, once started. */
  get address(): string {
    const { address, family, port } = this.#app.server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  async start(): Promise<void> {
    await this.#app.listen(this.#options.listen);
  }

  async stop(): Promise<void> {
    this.#app.server.closeAllConnections();
    await this.#app.close();
  }
}
