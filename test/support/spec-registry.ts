import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseRange, resolveRange } from '../../src/oci/range.ts';
import type { Image, ImageBlob } from './image.ts';
import type { Scratch } from './scratch.ts';

interface Repository {
  readonly tags: Map<string, ImageBlob>;
  readonly manifests: Map<string, ImageBlob>;
  readonly blobs: Map<string, ImageBlob>;
}

export interface SpecRegistryOptions {
  /** May it read there? `user:password`, or undefined: nobody in particular. By default whoever may all. */
  readonly opens?: (account: string | undefined, repository: string) => boolean;
}

/** One request, and how it was answered. */
export interface AnsweredRequest {
  readonly account: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

/**
 * A registry in memory that does all that the distribution spec (1.1) says of pulls, which docker-registry 2.8 does
 * not: the referrers API, and pages of tags/list. And with accounts that may read some repositories, by Basic.
 */
export class SpecRegistry {
  readonly requests: string[] = [];
  readonly answered: AnsweredRequest[] = [];
  readonly #opens: NonNullable<SpecRegistryOptions['opens']>;
  readonly #repositories = new Map<string, Repository>();
  readonly #server: Server;

  private constructor({ opens = () => true }: SpecRegistryOptions) {
    this.#opens = opens;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(scratch: Scratch, options: SpecRegistryOptions = {}): Promise<SpecRegistry> {
    const registry = new SpecRegistry(options);
    scratch.defer(() => {
      registry.#server.closeAllConnections();
      registry.#server.close();
    });
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get url(): string {
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  add(repository: string, tags: readonly string[], image: Image): void {
    const held = this.#repositories.get(repository) ?? { tags: new Map(), manifests: new Map(), blobs: new Map() };
    this.#repositories.set(repository, held);
    for (const blob of image.blobs) held.blobs.set(blob.digest, blob);
    for (const manifest of [image.manifest, image.top]) held.manifests.set(manifest.digest, manifest);
    for (const tag of tags) held.tags.set(tag, image.top);
  }

  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    const { method = '' } = request;
    const url = new URL(request.url ?? '/', this.url);
    this.requests.push(`${method} ${url.pathname}${url.search}`);
    const account = accountOf(request);
    response.once('finish', () => {
      this.answered.push({ account, method, path: url.pathname, status: response.statusCode });
    });
    if (method !== 'GET' && method !== 'HEAD') return fail(response, 405, 'UNSUPPORTED');
    if (url.pathname === '/v2/') return sendJson(response, {}, 'application/json');
    const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(url.pathname);
    const [, name = '', kind, target = ''] = match ?? [];
    if (!this.#opens(account, name)) {
      response.setHeader('www-authenticate', 'Basic realm="test"');
      return account === undefined ? fail(response, 401, 'UNAUTHORIZED') : fail(response, 403, 'DENIED');
    }
    const repository = this.#repositories.get(name);
    if (kind === 'referrers') return sendReferrers(response, repository, target);
    if (repository === undefined) return fail(response, 404, 'NAME_UNKNOWN');
    if (kind === 'tags' && target === 'list') return sendTags(response, url, name, repository);
    if (kind === 'manifests') {
      const manifest = repository.tags.get(target) ?? repository.manifests.get(target);
      return manifest === undefined ? fail(response, 404, 'MANIFEST_UNKNOWN') : send(response, manifest, undefined);
    }
    const blob = kind === 'blobs' ? repository.blobs.get(target) : undefined;
    return blob === undefined ? fail(response, 404, 'BLOB_UNKNOWN') : send(response, blob, request.headers.range ?? '');
  }
}

function accountOf({ headers }: IncomingMessage): string | undefined {
  const [, basic] = /^Basic (.+)$/.exec(headers.authorization ?? '') ?? [];
  return basic === undefined ? undefined : Buffer.from(basic, 'base64').toString();
}

/** @param range of a blob; undefined for a manifest */
function send(response: ServerResponse, { bytes, mediaType, digest }: ImageBlob, range: string | undefined): unknown {
  response.setHeader('docker-content-digest', digest);
  response.setHeader('content-type', range === undefined ? mediaType : 'application/octet-stream');
  const part = resolveRange(parseRange(range), bytes.length);
  if (part === 'unsatisfiable') return fail(response, 416, 'RANGE_INVALID');
  const body = part === undefined ? bytes : bytes.subarray(part.start, part.end + 1);
  if (part !== undefined) response.setHeader('content-range', `bytes ${part.start}-${part.end}/${bytes.length}`);
  response.writeHead(part === undefined ? 200 : 206, { 'content-length': body.length });
  return response.end(body); // Node leaves the body out on HEAD
}

function sendTags(response: ServerResponse, url: URL, name: string, repository: Repository): void {
  const last = url.searchParams.get('last') ?? '';
  const count = Number(url.searchParams.get('n') ?? '1000');
  const left = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const tags = left.slice(0, count);
  if (tags.length < left.length && tags.length > 0) {
    response.setHeader('link', `</v2/${name}/tags/list?n=${count}&last=${tags.at(-1)}>; rel="next"`);
  }
  sendJson(response, { name, tags }, 'application/json');
}

function sendReferrers(response: ServerResponse, repository: Repository | undefined, subject: string): void {
  const manifests = [...(repository?.manifests.values() ?? [])].flatMap(({ bytes, digest, mediaType }) => {
    const manifest = JSON.parse(bytes.toString('utf8'));
    if (manifest.subject?.digest !== subject) return [];
    return [{ mediaType, digest, size: bytes.length, artifactType: manifest.artifactType }];
  });
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  sendJson(response, { schemaVersion: 2, mediaType, manifests }, mediaType);
}

function sendJson(response: ServerResponse, value: unknown, mediaType: string): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': mediaType, 'content-length': Buffer.byteLength(body) }).end(body);
}

function fail(response: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] });
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    .end(body);
}
