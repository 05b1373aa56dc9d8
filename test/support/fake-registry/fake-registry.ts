import type { ServerOptions } from 'node:https';
import { BLOB, CONFIG, MANIFEST, TAG } from './fake-content.ts';
import { type FakeExchange, FakeServer } from './fake-server.ts';

export interface RegistryExchange extends FakeExchange {
  readonly kind: 'base' | 'manifest' | 'blob' | 'token' | 'other';
  readonly repository: string;
  /** Digest or tag. */
  readonly reference: string;
}

/** One habit of a registry: answers itself, or changes what `next` will answer. */
export type Habit = (exchange: RegistryExchange, next: () => void) => void;

export interface FakeRegistryOptions {
  readonly habits?: readonly Habit[];
  readonly tls?: ServerOptions;
}

/**
 * A registry as the distribution spec has it, with one image in every repository; habits stand in front of it in
 * their order. It also answers as an object store does: at /storage/<digest>.
 */
export class FakeRegistry {
  readonly server: FakeServer;
  /** Put in force at once. */
  habits: readonly Habit[];

  private constructor(server: FakeServer, habits: readonly Habit[]) {
    this.server = server;
    this.habits = habits;
  }

  static async start(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
    const box: { registry?: FakeRegistry } = {};
    const server = await FakeServer.start((exchange) => box.registry?.serve(exchange), options.tls);
    box.registry = new FakeRegistry(server, options.habits ?? []);
    return box.registry;
  }

  serve(exchange: FakeExchange): void {
    const named = { ...exchange, ...parsePath(exchange.logged.path) };
    const run = (index: number): void => {
      const habit = this.habits[index];
      if (habit === undefined) answerBySpec(named);
      else habit(named, () => run(index + 1));
    };
    run(0);
  }

  close(): Promise<void> {
    return this.server.close();
  }
}

function parsePath(path: string): Pick<RegistryExchange, 'kind' | 'repository' | 'reference'> {
  if (path === '/v2/') return { kind: 'base', repository: '', reference: '' };
  const named = /^(?:\/[^/]+)?\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path);
  if (named !== null) {
    const [, repository = '', kind, reference = ''] = named;
    return { kind: kind === 'manifests' ? 'manifest' : 'blob', repository, reference };
  }
  const stored = /^\/storage\/([^/]+)$/.exec(path);
  if (stored !== null) return { kind: 'blob', repository: '', reference: stored[1] ?? '' };
  return { kind: /token|auth/.test(path) ? 'token' : 'other', repository: '', reference: '' };
}

/** What the distribution spec says, ranges included. */
export function answerBySpec({ kind, reference, request, response }: RegistryExchange): void {
  if (kind === 'base') {
    response.end('{}');
  } else if (kind === 'manifest' && (reference === TAG || reference === MANIFEST.digest)) {
    setDefault(response, 'content-type', MANIFEST.mediaType);
    setDefault(response, 'docker-content-digest', MANIFEST.digest);
    setDefault(response, 'content-length', MANIFEST.bytes.byteLength);
    response.end(MANIFEST.bytes);
  } else if (kind === 'blob' && (reference === BLOB.digest || reference === CONFIG.digest)) {
    const { bytes } = reference === BLOB.digest ? BLOB : CONFIG;
    setDefault(response, 'content-type', 'application/octet-stream');
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (range === null) {
      response.setHeader('content-length', bytes.byteLength);
      response.end(bytes);
      return;
    }
    const start = Number(range[1]);
    const end = range[2] === '' ? bytes.byteLength - 1 : Math.min(Number(range[2]), bytes.byteLength - 1);
    if (start > end) {
      response.setHeader('content-range', `bytes */${bytes.byteLength}`);
      fail(response, 416, 'RANGE_INVALID');
      return;
    }
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${start}-${end}/${bytes.byteLength}`);
    response.setHeader('content-length', end - start + 1);
    response.end(bytes.subarray(start, end + 1));
  } else {
    fail(response, 404, 'NOT_FOUND');
  }
}

type Response = FakeExchange['response'];

function setDefault(response: Response, name: string, value: string | number): void {
  if (!response.hasHeader(name)) response.setHeader(name, value);
}

export function fail(response: Response, status: number, code: string): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }));
}
