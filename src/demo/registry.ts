import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseRange, resolveRange } from '../oci/range.ts';
import type { DemoImage, ImageBlob } from './image.ts';
import { Pace } from './pace.ts';

const CHUNK_BYTES = 128 * 1024;

export interface DemoRepository {
  readonly repository: string;
  readonly tag: string;
  readonly image: DemoImage;
}

export interface DemoRegistryOptions {
  readonly repositories: readonly DemoRepository[];
  /** What all blobs together flow at; without it, as fast as they can. */
  readonly bytesPerSecond?: number;
}

/** Agents of Windlass say who they are; clients that come by themselves don't. */
export type Asker = 'agents' | 'others';

/** What was asked of the registry, so far. Bytes are those of bodies. */
export interface RegistryCounts {
  /** By `HEAD tag`, `GET manifest`, `GET blob` and so on; `other` is whatever should not have been asked. */
  readonly requests: Readonly<Record<string, number>>;
  readonly total: number;
  readonly sentBytes: number;
  /** The most GETs that any one digest got. */
  readonly mostGetsOfOne: number;
  /** GETs of blobs that went on where somebody had stopped: from an offset on to the end. */
  readonly resumed: number;
}

/** A small OCI registry, read-only, an image a repository, which counts what it is asked, and by whom. */
export class DemoRegistry {
  readonly #options: DemoRegistryOptions;
  readonly #pace: Pace | undefined;
  readonly #server: Server;
  #hold: Hold | undefined;
  /** By repository and asker. */
  readonly #tallies = new Map<string, Tally>();

  constructor(options: DemoRegistryOptions) {
    this.#options = options;
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

  /** Of one repository, of one kind of asker; of all that is left out. */
  counts(repository?: string, asker?: Asker): RegistryCounts {
    const requests = new Map<string, number>();
    const gets = new Map<string, number>();
    let [sentBytes, resumed] = [0, 0];
    for (const tally of this.#select(repository, asker)) {
      for (const [kind, number] of tally.requests) count(requests, kind, number);
      for (const [digest, number] of tally.gets) count(gets, digest, number);
      for (const number of tally.sentBytes.values()) sentBytes += number;
      resumed += tally.resumed;
    }
    return {
      requests: Object.fromEntries(requests),
      total: [...requests.values()].reduce((total, value) => total + value, 0),
      sentBytes,
      mostGetsOfOne: Math.max(0, ...gets.values()),
      resumed,
    };
  }

  /** How much of the bodies of this digest has left, to whomever; or to one kind of asker. */
  sentBytes(digest: string, asker?: Asker): number {
    return this.#select(undefined, asker).reduce((sum, { sentBytes }) => sum + (sentBytes.get(digest) ?? 0), 0);
  }

  /** Nobody gets a byte of this digest from `offset` on, until `release`. */
  hold(digest: string, offset: number): void {
    this.#hold = { digest, offset, ended: Promise.withResolvers() };
  }

  /** Idempotent. */
  release(): void {
    this.#hold?.ended.resolve();
    this.#hold = undefined;
  }

  /** GETs of this digest, of whatever part. */
  gets(digest: string, asker?: Asker): number {
    return this.#select(undefined, asker).reduce((sum, { gets }) => sum + (gets.get(digest) ?? 0), 0);
  }

  #select(repository: string | undefined, asker: Asker | undefined): Tally[] {
    return [...this.#tallies.values()].filter((tally) => {
      return (repository ?? tally.repository) === tally.repository && (asker ?? tally.asker) === tally.asker;
    });
  }

  #tallyOf(repository: string, request: IncomingMessage): Tally {
    const asker = request.headers['user-agent']?.startsWith('windlass/') === true ? 'agents' : 'others';
    const key = `${asker} ${repository}`;
    const tally = this.#tallies.get(key) ?? new Tally(repository, asker);
    this.#tallies.set(key, tally);
    return tally;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? '';
    const { pathname } = new URL(request.url ?? '/', 'http://registry');
    const { kind, target, repository } = this.#match(pathname);
    const tally = this.#tallyOf(repository?.repository ?? '', request);
    if (method !== 'GET' && method !== 'HEAD') {
      count(tally.requests, 'other');
      return fail(response, 405, 'UNSUPPORTED', `this registry is read-only: ${method}`);
    }
    if (pathname === '/v2/') {
      count(tally.requests, `${method} /v2/`);
      return void response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
    }
    const image = repository?.image;
    const isTag = kind === 'manifests' && target === repository?.tag;
    const digest = isTag ? image?.index.digest : target;
    const known = image === undefined ? [] : kind === 'manifests' ? [image.index, image.manifest] : image.blobs;
    const blob = known.find((one) => one.digest === digest);
    if (blob === undefined) {
      count(tally.requests, 'other');
      return fail(response, 404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', `unknown: ${pathname}`);
    }
    count(tally.requests, `${method} ${isTag ? 'tag' : kind === 'manifests' ? 'manifest' : 'blob'}`);
    if (method === 'GET') count(tally.gets, blob.digest);
    await this.#send(request, response, { blob, isBlob: kind === 'blobs', tally });
  }

  #match(pathname: string): { kind: string; target: string; repository: DemoRepository | undefined } {
    const [, name = '', kind = '', target = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    return { kind, target, repository: this.#options.repositories.find(({ repository }) => repository === name) };
  }

  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    { blob, isBlob, tally }: { readonly blob: ImageBlob; readonly isBlob: boolean; readonly tally: Tally },
  ): Promise<void> {
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
    if (range !== undefined && range.start > 0 && range.end === bytes.length - 1) tally.resumed++;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    for (let at = 0; at < body.length; at += CHUNK_BYTES) {
      const chunk = body.subarray(at, at + CHUNK_BYTES);
      const hold = this.#hold;
      if (hold?.digest === digest && (range?.start ?? 0) + at >= hold.offset) {
        await Promise.race([hold.ended.promise, once(response, 'close')]);
      }
      if (isBlob) await this.#pace?.take(chunk.length, gone.signal);
      count(tally.sentBytes, digest, chunk.length);
      if (!response.write(chunk)) await once(response, 'drain', { signal: gone.signal });
    }
    response.end();
  }
}

interface Hold {
  readonly digest: string;
  readonly offset: number;
  readonly ended: PromiseWithResolvers<void>;
}

/** Counters of one repository and one kind of asker. */
class Tally {
  readonly repository: string;
  readonly asker: Asker;
  readonly requests = new Map<string, number>();
  /** By digest, as the next. */
  readonly gets = new Map<string, number>();
  readonly sentBytes = new Map<string, number>();
  resumed = 0;

  constructor(repository: string, asker: Asker) {
    this.repository = repository;
    this.asker = asker;
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
