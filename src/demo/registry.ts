import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseRange, resolveRange } from '../oci/range.ts';
import type { DemoImage, ImageBlob } from './image.ts';
import { Pace } from './pace.ts';

const CHUNK_BYTES = 128 * 1024;

export interface DemoRegistryOptions {
  readonly image: DemoImage;
  readonly repository: string;
  readonly tag: string;
  /** What all blobs together flow at; without it, as fast as they can. */
  readonly bytesPerSecond?: number;
}

/** What was asked of the registry, so far. Bytes are those of bodies. */
export interface RegistryCounts {
  /** By `HEAD tag`, `GET manifest`, `GET blob` and so on; `other` is whatever should not have been asked. */
  readonly requests: Readonly<Record<string, number>>;
  readonly total: number;
  readonly sentBytes: number;
  /** The most GETs that any one digest got. */
  readonly mostGetsOfOne: number;
}

/** A small OCI registry, read-only, with one image, which counts what it is asked. */
export class DemoRegistry {
  readonly #options: DemoRegistryOptions;
  readonly #manifests: ReadonlyMap<string, ImageBlob>;
  readonly #blobs: ReadonlyMap<string, ImageBlob>;
  readonly #pace: Pace | undefined;
  readonly #server: Server;
  readonly #requests = new Map<string, number>();
  readonly #getsByDigest = new Map<string, number>();
  readonly #sentByDigest = new Map<string, number>();

  constructor(options: DemoRegistryOptions) {
    const { index, manifest, blobs } = options.image;
    this.#options = options;
    this.#manifests = new Map([index, manifest].map((blob) => [blob.digest, blob]));
    this.#blobs = new Map(blobs.map((blob) => [blob.digest, blob]));
    this.#pace = options.bytesPerSecond === undefined ? undefined : new Pace(options.bytesPerSecond);
    this.#server = createServer((request, response) => {
      // A client that leaves in the middle is no fault of the registry; anything else ends that answer early.
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** @returns its address, `http://127.0.0.1:40123`. */
  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new TypeError('the registry has no port');
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  get counts(): RegistryCounts {
    const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
    return {
      requests: Object.fromEntries(this.#requests),
      total: sum(this.#requests.values()),
      sentBytes: sum(this.#sentByDigest.values()),
      mostGetsOfOne: Math.max(0, ...this.#getsByDigest.values()),
    };
  }

  /** How much of the bodies of this digest has left. */
  sentBytes(digest: string): number {
    return this.#sentByDigest.get(digest) ?? 0;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? '';
    const { pathname } = new URL(request.url ?? '/', 'http://registry');
    const { kind, target } = this.#match(pathname);
    if (method !== 'GET' && method !== 'HEAD') {
      count(this.#requests, 'other');
      return fail(response, 405, 'UNSUPPORTED', `this registry is read-only: ${method}`);
    }
    if (pathname === '/v2/') {
      count(this.#requests, `${method} /v2/`);
      return void response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
    }
    const isTag = kind === 'manifests' && target === this.#options.tag;
    const digest = isTag ? this.#options.image.index.digest : target;
    const blob = (kind === 'manifests' ? this.#manifests : this.#blobs).get(digest);
    if (blob === undefined) {
      count(this.#requests, 'other');
      return fail(response, 404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', `unknown: ${pathname}`);
    }
    count(this.#requests, `${method} ${isTag ? 'tag' : kind === 'manifests' ? 'manifest' : 'blob'}`);
    if (method === 'GET') count(this.#getsByDigest, blob.digest);
    await this.#send(request, response, blob, kind === 'blobs');
  }

  #match(pathname: string): { kind: string; target: string } {
    const prefix = `/v2/${this.#options.repository}/`;
    const match = pathname.startsWith(prefix)
      ? /^(manifests|blobs)\/([^/]+)$/.exec(pathname.slice(prefix.length))
      : null;
    return { kind: match?.[1] ?? '', target: match?.[2] ?? '' };
  }

  async #send(request: IncomingMessage, response: ServerResponse, blob: ImageBlob, isBlob: boolean): Promise<void> {
    const { digest, bytes } = blob;
    const headers = {
      'content-type': isBlob ? 'application/octet-stream' : blob.mediaType,
      'docker-content-digest': digest,
      'docker-distribution-api-version': 'registry/2.0',
      ...(isBlob ? { 'accept-ranges': 'bytes' } : {}),
    };
    const range =
      isBlob && request.method === 'GET' ? resolveRange(parseRange(request.headers.range), bytes.length) : undefined;
    if (range === 'unsatisfiable') {
      response.setHeader('content-range', `bytes */${bytes.length}`);
      return fail(response, 416, 'RANGE_INVALID', `not within ${bytes.length} bytes: ${request.headers.range}`);
    }
    const body = range === undefined ? bytes : bytes.subarray(range.start, range.end + 1);
    response.writeHead(range === undefined ? 200 : 206, {
      ...headers,
      'content-length': body.length,
      ...(range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end}/${bytes.length}` }),
    });
    if (request.method === 'HEAD') return void response.end();
    response.flushHeaders();
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    for (let at = 0; at < body.length; at += CHUNK_BYTES) {
      const chunk = body.subarray(at, at + CHUNK_BYTES);
      if (isBlob) await this.#pace?.take(chunk.length, gone.signal);
      count(this.#sentByDigest, digest, chunk.length);
      if (!response.write(chunk)) await once(response, 'drain', { signal: gone.signal });
    }
    response.end();
  }
}

function count(counters: Map<string, number>, key: string, by = 1): void {
  counters.set(key, (counters.get(key) ?? 0) + by);
}

function fail(response: ServerResponse, status: number, code: string, message: string): void {
  const body = JSON.stringify({ errors: [{ code, message }] });
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    .end(body);
}
