import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import { systemCode, WindlassError } from '../errors.ts';
import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import { isProbe } from '../oci/probe-image.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { Manifests } from '../pull/manifests.ts';
import type { Tags } from '../pull/tags.ts';
import type { Registries } from '../upstream/registry-client.ts';
import { BlobHandler } from './blob-handler.ts';
import { BodySender } from './body-sender.ts';
import { Connections } from './connections.ts';
import { errorAnswer } from './error-answer.ts';
import { Exchange } from './exchange.ts';
import { ExchangeRecords } from './exchange-records.ts';
import { ManifestHandler } from './manifest-handler.ts';
import { ProbeHandler } from './probe-handler.ts';
import { RelayHandler } from './relay-handler.ts';
import { readTarget } from './request-path.ts';
import { Turns } from './turns.ts';

export interface MirrorOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly listen: readonly { readonly host: string; readonly port: number }[];
  readonly defaultRegistry: string;
  /** A client waits at most so long for headers; then 503. */
  readonly headersTimeoutMs: number;
  /** A client that takes no byte for so long is let go. */
  readonly writeTimeoutMs: number;
  readonly maxConnections: number;
  readonly registries: Registries;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly tags: Tags;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** The endpoint for container runtimes: the read-only half of the distribution API, for any listed registry. */
export class MirrorServer {
  readonly #options: MirrorOptions;
  readonly #app: FastifyInstance;
  readonly #servers: Server[] = [];
  readonly #connections: Connections;
  readonly #turns = new Turns();
  readonly #blobHandler: BlobHandler;
  readonly #manifestHandler: ManifestHandler;
  readonly #relayHandler: RelayHandler;
  readonly #probeHandler = new ProbeHandler();
  readonly #records: ExchangeRecords;
  #draining = false;

  constructor(options: MirrorOptions) {
    this.#options = options;
    this.#records = new ExchangeRecords(options);
    const { blobs, manifests, tags, registries, metrics, headersTimeoutMs } = options;
    this.#blobHandler = new BlobHandler(blobs, new BodySender(options.writeTimeoutMs), headersTimeoutMs);
    this.#manifestHandler = new ManifestHandler(manifests, tags, headersTimeoutMs);
    this.#relayHandler = new RelayHandler(registries, headersTimeoutMs);
    this.#connections = new Connections(options.maxConnections, {
      onChange: (open) => metrics.mirrorConnections.set(open),
      onDrop: () => metrics.mirrorConnectionsDropped.inc(),
    });
    this.#app = fastify({
      serverFactory: (handler) => {
        for (const _ of options.listen) this.#servers.push(this.#createServer(handler as RequestListener));
        return this.#servers[0] as Server;
      },
      logger: false,
      // What does not parse as a URL ends here; so do paths of other APIs.
      frameworkErrors: (error, _request, reply) => {
        reply.hijack();
        refuse(reply.raw, new WindlassError('INVALID_NAME', error.message));
      },
    });
    // Before any body is read: nothing here takes one.
    this.#app.addHook('onRequest', async ({ method }, reply) => {
      if (method === 'GET' || method === 'HEAD') return;
      reply.hijack();
      reply.raw.setHeader('allow', 'GET, HEAD').setHeader('connection', 'close');
      refuse(reply.raw, new WindlassError('METHOD_NOT_ALLOWED', `${method}: this mirror is read-only`));
    });
    this.#app.route({
      method: ['GET', 'HEAD'],
      url: '*',
      handler: async (request, reply) => {
        reply.hijack();
        if (!(await this.#turns.take(request.raw.socket, reply.raw))) return;
        const id = randomBytes(5).toString('hex');
        const onBytes = (source: SourceLabel, count: number) => this.#records.addBytes(source, count);
        await this.#serve(new Exchange(id, request.raw, reply.raw, onBytes));
      },
    });
  }

  /** `host:port` of each listener, once started. */
  get addresses(): string[] {
    return this.#servers
      .map((server) => server.address())
      .filter((address): address is AddressInfo => address !== null && typeof address === 'object')
      .map(({ address, family, port }) => (family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`));
  }

  /** @throws the system's error (EADDRINUSE, …). A host without IPv6 is no error while another listener stands. */
  async start(): Promise<void> {
    await this.#app.ready();
    for (const [index, { host, port }] of this.#options.listen.entries()) {
      const server = this.#servers[index] as Server;
      try {
        await listen(server, host, port);
        server.on('error', (error) => this.#options.logger.error({ host, port, err: error }, 'listener failed'));
      } catch (error) {
        const noIpv6 = host.includes(':') && ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(systemCode(error) ?? '');
        if (!noIpv6 || this.addresses.length === 0) throw error;
        this.#options.logger.warn({ host, port }, 'no IPv6 here: not listening on it');
      }
    }
    this.#options.logger.info({ addresses: this.addresses }, 'mirror is listening');
  }

  /** Accepts nothing new; resolves when the answers under way have ended, or the signal says that it is enough. */
  async drain(signal: AbortSignal): Promise<void> {
    const closed = this.#servers
      .filter((server) => server.listening)
      .map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#draining = true;
    this.#closeIdle();
    const enough = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([Promise.all(closed), enough]);
  }

  async stop(): Promise<void> {
    await this.drain(AbortSignal.abort());
    for (const server of this.#servers) server.closeAllConnections();
    await this.#app.close();
  }

  #createServer(handler: RequestListener): Server {
    const server = createServer(
      {
        // containerd keeps connections for 90 s at most; nobody sends a body.
        keepAliveTimeout: 95_000,
        headersTimeout: 20_000,
        requestTimeout: 30_000,
        connectionsCheckingInterval: 5_000,
        noDelay: true,
      },
      handler,
    );
    // Whoever asks first whether it may send a body gets its answer without sending one.
    server.on('checkContinue', (request, response) => server.emit('request', request, response));
    this.#connections.watch(server);
    return server;
  }

  #closeIdle(): void {
    for (const server of this.#servers) server.closeIdleConnections();
  }

  async #serve(exchange: Exchange): Promise<void> {
    const { response } = exchange;
    // Else a connection that is kept alive would hold up the end.
    if (this.#draining) response.setHeader('connection', 'close');
    response.once('close', () => {
      if (this.#draining) setImmediate(() => this.#closeIdle());
    });
    try {
      const target = readTarget(exchange.request.url ?? '', {
        defaultRegistry: this.#options.defaultRegistry,
        isListed: (host) => this.#options.registries.allows(host),
      });
      exchange.target = target;
      if ('digest' in target) exchange.digest = target.digest;
      response.setHeader('docker-distribution-api-version', 'registry/2.0');
      if (target.kind === 'ping') {
        exchange.answer(200, { 'content-type': 'application/json' }, '{}');
      } else {
        // Throws where the registry is not on the list: before anything is looked up or connected.
        this.#options.registries.get(target.origin.registry);
        if (isProbe(target.origin)) this.#probeHandler.handle(exchange, target);
        else if (target.kind === 'blob') await this.#blobHandler.handle(exchange, target);
        else if (target.kind === 'relay') await this.#relayHandler.handle(exchange, target);
        else await this.#manifestHandler.handle(exchange, target);
      }
    } catch (error) {
      this.#refuse(exchange, error);
    } finally {
      this.#records.add(exchange);
      // What is written but never read would hold the connection for ever.
      if (!response.writableFinished) response.setTimeout(this.#options.writeTimeoutMs, () => response.destroy());
    }
  }

  #refuse(exchange: Exchange, error: unknown): void {
    exchange.error = error;
    const { response } = exchange;
    if (exchange.signal.aborted || response.headersSent) {
      response.destroy();
      return;
    }
    const answer = errorAnswer(error, exchange.target?.kind);
    if (answer.code === 'INTERNAL') this.#options.logger.error({ req: exchange.id, err: error }, 'unexpected error');
    exchange.answer(answer.status, { 'content-type': 'application/json' }, answer.body);
  }
}

function refuse(response: ServerResponse, error: WindlassError): void {
  const { status, body } = errorAnswer(error, undefined);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    .end(body);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
