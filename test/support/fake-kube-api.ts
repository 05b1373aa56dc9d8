import { mkdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest } from 'node:http2';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { freePorts } from '../../src/demo/free-ports.ts';
import { selfSigned } from './fake-registry/self-signed.ts';
import type { Scratch } from './scratch.ts';

const ACCOUNT = 'var/run/secrets/kubernetes.io/serviceaccount';
export const NAMESPACE = 'windlass-test';
export const SERVICE = 'windlass-peers';

/** As of discovery.k8s.io/v1; whatever else a test wants to write into it. */
export interface FakeSlice {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: FakeSlice;
}

/** What the answers of HTTP/1.1 and HTTP/2 have in common. */
interface Answer {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
  /** HTTP/2 does not wait for more. */
  flushHeaders?(): void;
  write(text: string, done?: () => void): boolean;
  end(text: string): unknown;
  once(event: 'close', call: () => void): unknown;
}
type FakeServer = Server | Http2SecureServer;

export type Protocol = 'HTTP/1.1' | 'HTTP/2';

/** A request that came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly token: string;
  readonly body: string;
}

/** What a test answers to it. An object without a status is one of 200. */
export type Route = (request: SeenRequest) => { readonly status?: number; readonly object: object };

/**
 * As much of an API server as lists and watches EndpointSlices, over HTTPS, and of the folder that a Pod finds its
 * service account in. It does to clients what real ones do on bad days.
 */
export class FakeKubeApi {
  /** Stands for `/`. */
  readonly root: string;
  readonly requests: SeenRequest[] = [];
  /** Answers of other objects than slices, by `GET /api/v1/…`. */
  readonly routes = new Map<string, Route>();
  /** Answers everything with this, and these headers. */
  refusal: { readonly status: number; readonly headers?: Readonly<Record<string, string>> } | undefined;
  /** Takes requests and says nothing. */
  isMute = false;
  /** Watches are open, and are told nothing. */
  areWatchesSilent = false;
  /** How it says that a version is too old. */
  gone: 'status' | 'event' = 'status';
  /** Slices in one page, whatever a client asks for. */
  pageSize = Number.POSITIVE_INFINITY;
  token = 'token-1';
  readonly #server: FakeServer;
  readonly #port: number;
  readonly #slices = new Map<string, FakeSlice>();
  readonly #watches = new Set<Answer>();
  #history: Change[] = [];
  #version = 100;
  /** Versions before this one are forgotten. */
  #oldest = 0;
  readonly #connections = new Set<Socket>();

  private constructor(root: string, server: FakeServer, port: number) {
    this.root = root;
    this.#server = server;
    this.#port = port;
    server.on('connection', (socket: Socket) => {
      this.#connections.add(socket);
      socket.once('close', () => this.#connections.delete(socket));
    });
  }

  /**
   * Listens; the variables that a Pod has are set in this process until the scratch folder goes.
   * @param protocol real ones speak HTTP/2 where a client offers it, as ours does; not so some that stand before them
   */
  static async start(scratch: Scratch, protocol: Protocol = 'HTTP/2'): Promise<FakeKubeApi> {
    const { cert, key } = await selfSigned(scratch, '127.0.0.1');
    const [port = 0] = await freePorts(1);
    await mkdir(scratch.join(ACCOUNT), { recursive: true });
    await writeFile(scratch.join(ACCOUNT, 'ca.crt'), cert);
    await writeFile(scratch.join(ACCOUNT, 'namespace'), NAMESPACE);
    const api: FakeKubeApi =
      protocol === 'HTTP/2'
        ? new FakeKubeApi(
            scratch.path,
            createSecureServer({ cert, key }, (...of) => api.#answer(...of)),
            port,
          )
        : new FakeKubeApi(
            scratch.path,
            createServer({ cert, key }, (...of) => api.#answer(...of)),
            port,
          );
    await api.writeToken(api.token);
    process.env.KUBERNETES_SERVICE_HOST = '127.0.0.1';
    process.env.KUBERNETES_SERVICE_PORT = String(port);
    scratch.defer(() => {
      delete process.env.KUBERNETES_SERVICE_HOST;
      delete process.env.KUBERNETES_SERVICE_PORT;
      return api.stop();
    });
    await api.listen();
    return api;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
  }

  /** Connections are refused afterwards. Idempotent. */
  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** As the kubelet writes it for the Pod; `token` is what is accepted. */
  async writeToken(text: string): Promise<void> {
    await writeFile(`${this.root}/${ACCOUNT}/token`, text);
  }

  get lists(): readonly SeenRequest[] {
    return this.requests.filter(({ query }) => query.watch === undefined);
  }

  get watches(): readonly SeenRequest[] {
    return this.requests.filter(({ query }) => query.watch === 'true');
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  get version(): number {
    return this.#version;
  }

  set(slice: FakeSlice): void {
    this.#change(this.#slices.has(slice.metadata.name) ? 'MODIFIED' : 'ADDED', slice);
    this.#slices.set(slice.metadata.name, slice);
  }

  remove(name: string): void {
    const slice = this.#slices.get(name);
    this.#slices.delete(name);
    if (slice !== undefined) this.#change('DELETED', slice);
  }

  /** Other objects changed meanwhile: the version moves on, and watches hear of it. */
  bookmark(): void {
    this.#version += 50;
    const metadata = { resourceVersion: String(this.#version), creationTimestamp: null };
    this.send(`${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'EndpointSlice', metadata } })}\n`);
  }

  /** No watch can begin at a version before the current one. */
  forget(): void {
    this.#oldest = this.#version;
    this.#history = [];
  }

  /** To all watches, as it is. */
  send(text: string): void {
    for (const watch of this.#watches) watch.write(text);
  }

  /** In order. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end('');
  }

  /** A change that only gets half way, with the connection. */
  async cutWatchesWithin(slice: FakeSlice): Promise<void> {
    const before = [...this.#watches];
    this.areWatchesSilent = true;
    this.set(slice);
    this.areWatchesSilent = false;
    const line = this.#line(this.#history.at(-1));
    const half = line.slice(0, line.length / 2);
    await Promise.all(before.map((watch) => new Promise<void>((resolve) => watch.write(half, resolve))));
    for (const connection of this.#connections) connection.destroy();
  }

  #change(type: Change['type'], object: FakeSlice): void {
    this.#version += 1;
    this.#history.push({ version: this.#version, type, object });
    if (!this.areWatchesSilent) this.send(this.#line(this.#history.at(-1)));
  }

  #line(change: Change | undefined): string {
    if (change === undefined) return '';
    return `${JSON.stringify({ type: change.type, object: withVersion(change.object, change.version) })}\n`;
  }

  #answer(req: IncomingMessage | Http2ServerRequest, res: Answer): void {
    // Of a client that goes while it sends nothing is to be answered.
    this.#respond(req, res).catch(() => undefined);
  }

  async #respond(req: IncomingMessage | Http2ServerRequest, res: Answer): Promise<void> {
    const url = new URL(req.url ?? '', 'https://api');
    const query = Object.fromEntries(url.searchParams);
    const token = req.headers.authorization?.replace(/^Bearer /, '') ?? '';
    const method = req.method ?? 'GET';
    const body = method === 'GET' ? '' : await text(req);
    const request = { method, path: url.pathname, query, token, body };
    this.requests.push(request);
    if (this.isMute) return;
    const route = this.routes.get(`${method} ${url.pathname}`);
    if (this.refusal !== undefined) refuse(res, this.refusal.status, 'as the test has it', this.refusal.headers);
    else if (token !== this.token) refuse(res, 401, 'Unauthorized');
    else if (route !== undefined) {
      const { status = 200, object } = route(request);
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(JSON.stringify(object));
    } else if (url.pathname !== `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`)
      refuse(res, 403, 'no');
    else if (query.labelSelector !== `kubernetes.io/service-name=${SERVICE}`) refuse(res, 403, 'all of them?');
    else if (query.watch === 'true') this.#watch(res, Number(query.resourceVersion));
    else this.#list(res, Number(query.continue ?? 0));
  }

  #list(res: Answer, from: number): void {
    const all = [...this.#slices.values()];
    const items = all.slice(from, from + this.pageSize).map((slice) => withVersion(slice, this.#version));
    const rest = from + items.length < all.length ? { continue: String(from + items.length) } : {};
    const metadata = { resourceVersion: String(this.#version), ...rest };
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ kind: 'EndpointSliceList', apiVersion: 'discovery.k8s.io/v1', metadata, items }));
  }

  #watch(res: Answer, from: number): void {
    if (from < this.#oldest) {
      const message = `too old resource version: ${from} (${this.#oldest})`;
      if (this.gone === 'status') refuse(res, 410, message);
      else res.end(`${JSON.stringify({ type: 'ERROR', object: statusOf(410, message) })}\n`);
      return;
    }
    this.#watches.add(res);
    res.once('close', () => this.#watches.delete(res));
    res.writeHead(200, { 'content-type': 'application/json' });
    res.flushHeaders?.();
    if (this.areWatchesSilent) return;
    for (const change of this.#history) if (change.version > from) res.write(this.#line(change));
  }
}

function withVersion(slice: FakeSlice, version: number): object {
  return { ...slice, metadata: { ...slice.metadata, resourceVersion: String(version) } };
}

export function statusOf(code: number, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, message };
}

function refuse(res: Answer, status: number, message: string, headers: Readonly<Record<string, string>> = {}): void {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(statusOf(status, message)));
}
