import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

export interface LoggedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Of the connection, so that tests can see which were reused. */
  readonly remotePort: number | undefined;
  /** Whole after the request's end. */
  body: string;
  /** How the answer left: undefined while it is being sent. */
  sent: 'whole' | 'cut' | undefined;
}

export interface FakeExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly logged: LoggedRequest;
}

export type FakeHandler = (exchange: FakeExchange) => void | Promise<void>;

/** An HTTP server on a port of its own that remembers what it was asked. */
export class FakeServer {
  readonly requests: LoggedRequest[] = [];
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  readonly #scheme: 'http' | 'https';
  connections = 0;

  private constructor(handler: FakeHandler, tls: ServerOptions | undefined) {
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      this.#serve(request, response, handler);
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server.on('connection', (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('tlsClientError', () => {});
  }

  static async start(handler: FakeHandler, tls?: ServerOptions): Promise<FakeServer> {
    const server = new FakeServer(handler, tls);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return this.urlOf('127.0.0.1');
  }

  /** The same server under another name. */
  urlOf(hostname: string): string {
    return `${this.#scheme}://${hostname}:${this.port}`;
  }

  /** Requests whose method and path fit. */
  seen(method: string, path: string | RegExp): LoggedRequest[] {
    const fits = (text: string): boolean => (typeof path === 'string' ? text === path : path.test(text));
    return this.requests.filter((request) => request.method === method && fits(request.path));
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  /** As a restart does to clients that hold kept-alive connections. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse, handler: FakeHandler): void {
    const url = new URL(request.url ?? '/', 'http://fake');
    const logged: LoggedRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      remotePort: request.socket.remotePort,
      body: '',
      sent: undefined,
    };
    this.requests.push(logged);
    response.on('close', () => {
      logged.sent = response.writableFinished ? 'whole' : 'cut';
    });
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      logged.body += chunk;
    });
    request.on('end', async () => handler({ request, response, logged }));
  }
}
