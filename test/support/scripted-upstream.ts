import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/**
 * An upstream whose every answer a test decides: `on` for a path below /v2/, else 404. Counts what it is asked.
 * For whole registries with their habits see fake-registry; this one is for one fault at a time.
 */
export class ScriptedUpstream {
  readonly requests: { readonly method: string; readonly path: string; readonly range: string | undefined }[] = [];
  readonly #handlers = new Map<string, Handler>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<ScriptedUpstream> {
    const server = createServer();
    const upstream = new ScriptedUpstream(server);
    server.on('request', (request, response) => void upstream.#handle(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  on(path: string, handler: Handler): void {
    this.#handlers.set(`/v2/${path}`, handler);
  }

  /** Serves bytes as a well-behaved registry does, ranges included. */
  serve(path: string, bytes: Uint8Array, headers: Record<string, string> = {}): void {
    this.on(path, (request, response) => {
      const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
      const start = Number(range?.[1] ?? 0);
      const end = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1;
      const part = bytes.subarray(start, end + 1);
      response.writeHead(range === null ? 200 : 206, {
        'content-length': part.length,
        ...(range === null ? {} : { 'content-range': `bytes ${start}-${end}/${bytes.length}` }),
        ...headers,
      });
      response.end(request.method === 'HEAD' ? undefined : part);
    });
  }

  count(method: string, path: string): number {
    return this.requests.filter((request) => request.method === method && request.path === `/v2/${path}`).length;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    this.requests.push({ method: request.method ?? '', path, range: request.headers.range });
    response.on('error', () => {});
    const handler = this.#handlers.get(path);
    if (handler === undefined) response.writeHead(path === '/v2/' ? 200 : 404).end();
    else await handler(request, response);
  }
}
