import { createServer as createPlainServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Logger } from 'pino';
import { systemCode } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { PeerOffers } from '../pull/peer-streams.ts';
import type { ClusterSecrets } from '../routing/cluster-secret.ts';
import type { Identity } from '../routing/identity.ts';
import type { CallHandler, CallPath } from '../routing/peer-calls.ts';
import { BlobRoute } from './blob-route.ts';
import { CallRoute } from './call-route.ts';
import { Ceiling } from './ceiling.ts';
import { dataAddress } from './data-address.ts';
import type { Door, Guest } from './door.ts';
import { Membership } from './membership.ts';
import { isDeclined, statusOf } from './peer-status.ts';
import { PlainDoor } from './plain-door.ts';
import { Refusals } from './refusals.ts';
import { TlsDoor } from './tls-door.ts';
import { tlsOptions } from './tls-options.ts';
import type { Transfer } from './transfer.ts';
import { Uploads } from './uploads.ts';
import { API_PATH, BLOBS_PATH, HELLO_PATH, splitQuery } from './wire.ts';

export interface PeerServerOptions {
  /** Port 0 lets the system choose. */
  readonly listen: { readonly host: string; readonly port: number };
  /** `host:port` that others are told; undefined or empty: worked out. */
  readonly announce?: string | undefined;
  readonly encryption: 'tls' | 'none';
  readonly maxUploads: number;
  /** Of all uploads together; 0: no limit. */
  readonly uploadRateBytesPerSecond: number;
  readonly identity: Identity;
  readonly secrets: ClusterSecrets;
  readonly handlers: Readonly<Record<CallPath, CallHandler>>;
  readonly offers: PeerOffers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Whoever takes longer over 256 KiB is let go. */
  readonly writeTimeoutMs?: number;
  readonly maxConnections?: number;
}

/** Strangers may take so long to their first request. */
const HANDSHAKE_MS = 5_000;
/** The last answer may be on its way when the next request is read. */
const MOST_UNANSWERED = 2;
/** Longer than any client keeps an idle connection, so that none is closed under a request. */
const KEEP_ALIVE_MS = 60_000;

/** The endpoint for other agents: calls, and blobs. Whoever is no member of the cluster gets 401, and no more. */
export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #server: Server;
  readonly #door: Door;
  readonly #refusals: Refusals;
  readonly #ceiling: Ceiling;
  readonly #uploads: Uploads;
  readonly #calls: CallRoute;
  readonly #blobs: BlobRoute;
  /** Connections of members. */
  readonly #members = new WeakSet<Socket>();
  /** Requests that wait for the end of their answer. */
  readonly #unanswered = new WeakMap<Socket, number>();
  #draining = false;

  constructor(options: PeerServerOptions) {
    this.#options = options;
    const { identity, secrets, logger, metrics, offers, writeTimeoutMs = 30_000, maxConnections = 4_096 } = options;
    this.#refusals = new Refusals(logger, metrics);
    this.#door =
      options.encryption === 'tls'
        ? new TlsDoor(new Membership(identity.peerId, secrets), this.#refusals)
        : new PlainDoor(identity, secrets, this.#refusals);
    this.#uploads = new Uploads(options);
    this.#calls = new CallRoute(options);
    this.#blobs = new BlobRoute(offers, this.#uploads, writeTimeoutMs);
    this.#server = this.#createServer();
    this.#ceiling = new Ceiling(maxConnections);
    this.#ceiling.watch(this.#server);
  }

  /** `host:port`, once started: where it listens. */
  get address(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** `host:port`, once started: what other agents are told. */
  get dataAddress(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return dataAddress(this.#options.announce, address, port);
  }

  /** Bytes a second: the highest rate ever sent for a second; undefined until there was one. */
  get uplink(): number | undefined {
    return this.#uploads.highestRate;
  }

  get uploads(): readonly Transfer[] {
    return this.#uploads.running;
  }

  /** @throws the system's error (EADDRINUSE, …). */
  async start(): Promise<void> {
    const { host, port } = this.#options.listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (err) => this.#options.logger.error({ err }, 'peer listener failed'));
    this.#options.logger.info({ address: this.address }, 'listening for other agents');
  }

  /** Takes no new blob requests (503); resolves when those under way have ended, or the signal says that it is enough. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    const enough = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([this.#uploads.idle(), enough]);
  }

  async stop(): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    this.#ceiling.closeStrangers();
    await closed;
  }

  #createServer(): Server {
    const handler = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response);
    const options = {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HANDSHAKE_MS,
      requestTimeout: 60_000,
      connectionsCheckingInterval: 1_000,
      requireHostHeader: false,
      noDelay: true,
    };
    const tls = { ...tlsOptions(this.#options.identity), requestCert: true, handshakeTimeout: HANDSHAKE_MS };
    const server =
      this.#options.encryption === 'tls'
        ? createServer({ ...options, ...tls }, handler)
        : createPlainServer(options, handler);
    // Node would answer 400, 408 or 417, which tells what is here. What TLS finds wrong comes here as well.
    server.on('clientError', (error: Error, socket) => this.#noPeer(error, socket as Socket));
    server.on('checkContinue', handler);
    server.on('checkExpectation', handler);
    // Else Node closes it without a word to anybody.
    server.on('connect', (_, socket) => this.#noPeer(new Error('it asked for CONNECT'), socket as Socket));
    return server;
  }

  /** What it said was no TLS, or no HTTP. One that merely left was nobody; a member that died is no stranger. */
  #noPeer(error: Error, socket: Socket): void {
    if (this.#members.has(socket)) this.#options.logger.debug({ err: error }, 'connection of a member broke');
    else if (systemCode(error) !== 'ECONNRESET' || socket.bytesRead > 0) {
      this.#refusals.stranger(socket.remoteAddress ?? 'gone', 'handshake', { why: error.message });
    }
    socket.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    const unanswered = (this.#unanswered.get(socket) ?? 0) + 1;
    // No agent asks again before it was answered; a stranger could have this one look at proofs for ever.
    if (unanswered > MOST_UNANSWERED) {
      socket.destroy();
      return;
    }
    this.#unanswered.set(socket, unanswered);
    response.once('close', () => this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1));
    response.sendDate = false;
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('the caller left')));
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      const guest = await this.#door.admit(request, response);
      if (guest === undefined) return;
      this.#members.add(request.socket);
      response.once('close', this.#ceiling.admitted(request.socket));
      await this.#route(guest, request, response, left.signal);
    } catch (error) {
      this.#failed(error, request, response);
    }
  }

  async #route(guest: Guest, request: IncomingMessage, response: ServerResponse, left: AbortSignal): Promise<void> {
    const target = splitQuery(request.url ?? '') ?? { path: '', query: new Map() };
    const { path, query } = target;
    const callPath = request.method === 'POST' && path.startsWith(API_PATH) ? this.#calls.pathOf(path) : undefined;
    const isBlob = request.method === 'GET' && path.startsWith(BLOBS_PATH);
    if (callPath !== undefined) {
      await this.#calls.serve(callPath, guest, query, request, response, left);
    } else if (isBlob && !this.#draining) {
      await this.#blobs.serve(guest, target, response, left);
    } else {
      const status = isBlob ? 503 : path === HELLO_PATH ? 204 : 404;
      const empty = status === 204 ? {} : { 'content-length': 0 };
      response.writeHead(status, { ...guest.seal(status, new Uint8Array()), ...empty }).end();
      request.resume();
    }
  }

  /** Routes tell what they can themselves: this is what is broken here, or the other side left. */
  #failed(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    if (!response.destroyed && !isDeclined(error)) {
      this.#options.logger.error({ err: error, method: request.method, url: request.url }, 'peer request failed');
    }
    if (response.headersSent || response.destroyed) response.destroy();
    else response.writeHead(statusOf(error), { 'content-length': 0, connection: 'close' }).end();
  }
}
