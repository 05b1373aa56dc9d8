import { WindlassError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { bareMediaType, MANIFEST_ACCEPT, MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { parseContentRange } from '../oci/range.ts';
import { decodeBody } from './content-decoding.ts';
import type { CredentialSource } from './credentials.ts';
import { repositoryUrl, upstreamRepository } from './endpoint.ts';
import type {
  BlobBody,
  BlobHead,
  ManifestBody,
  ManifestHead,
  RegistryClient,
  RelayedAnswer,
  RequestOptions,
} from './registry-client.ts';
import type { RegistryAnswer, RegistryRequest, RegistryRequests } from './registry-requests.ts';
import { nameOf, statusFailure } from './upstream-failure.ts';

/** Bytes as they are kept: a compressed answer has another length, and no ranges. */
const IDENTITY = { 'accept-encoding': 'identity' };
/** Of a HEAD: not implemented; or, by whoever a redirect led to, signed for GET alone. */
const HEAD_UNKNOWN = [405, 501];
const HEAD_UNSIGNED = [400, 401, 403];
const RANGE_REFUSED = [400, 403, 416];
const RELAYED_HEADERS = ['content-type', 'link', 'docker-content-digest', 'oci-filters-applied', 'oci-subject', 'etag'];

export interface UpstreamRegistryOptions {
  readonly host: string;
  readonly label: string;
  readonly endpoint: URL;
  readonly requests: RegistryRequests;
  readonly credentials: CredentialSource;
}

/** The distribution spec's pulls against one registry, with the habits that registries have. */
export class UpstreamRegistry implements RegistryClient {
  readonly host: string;
  readonly label: string;
  readonly #endpoint: URL;
  readonly #requests: RegistryRequests;
  readonly #credentials: CredentialSource;

  constructor(options: UpstreamRegistryOptions) {
    this.host = options.host;
    this.label = options.label;
    this.#endpoint = options.endpoint;
    this.#requests = options.requests;
    this.#credentials = options.credentials;
  }

  async credentialsFingerprint(repository: string): Promise<string | undefined> {
    return (await this.#credentials.find(upstreamRepository(this.host, repository)))?.fingerprint;
  }

  async headManifest(repository: string, reference: string, options: RequestOptions): Promise<ManifestHead> {
    const path = `manifests/${reference}`;
    const headers = { ...IDENTITY, accept: MANIFEST_ACCEPT };
    const answer = await this.#send('manifest', 'HEAD', repository, path, headers, options.signal);
    answer.body.discard();
    if (isHeadRefused(answer)) return { digest: undefined, contentType: undefined, sizeBytes: undefined };
    requireContent(answer);
    return manifestHead(answer);
  }

  async getManifest(repository: string, reference: string, options: RequestOptions): Promise<ManifestBody> {
    const path = `manifests/${reference}`;
    const headers = { ...IDENTITY, accept: MANIFEST_ACCEPT };
    const answer = await this.#send('manifest', 'GET', repository, path, headers, options.signal);
    requireContent(answer);
    const bytes = await readLimited(answer);
    return { ...manifestHead(answer), sizeBytes: bytes.byteLength, bytes };
  }

  async headBlob(repository: string, digest: Digest, options: RequestOptions): Promise<BlobHead> {
    const path = `blobs/${digest}`;
    const head = await this.#send('blob', 'HEAD', repository, path, IDENTITY, options.signal);
    head.body.discard();
    if (!isHeadRefused(head)) {
      requireContent(head);
      return { sizeBytes: contentLength(head) };
    }
    const headers = { ...IDENTITY, range: 'bytes=0-0' };
    const get = await this.#send('blob', 'GET', repository, path, headers, options.signal);
    get.body.discard();
    const range = get.headers['content-range'];
    if (get.status === 416) return { sizeBytes: /^bytes \*\/0$/i.test(range ?? '') ? 0 : undefined };
    requireContent(get);
    return { sizeBytes: get.status === 206 ? parseContentRange(range)?.sizeBytes : contentLength(get) };
  }

  async getBlob(
    repository: string,
    digest: Digest,
    options: RequestOptions & { readonly offset?: number; readonly end?: number },
  ): Promise<BlobBody> {
    const { signal, offset = 0, end } = options;
    const path = `blobs/${digest}`;
    if (offset > 0 || end !== undefined) {
      const headers = { ...IDENTITY, range: `bytes=${offset}-${end ?? ''}` };
      const answer = await this.#send('blob', 'GET', repository, path, headers, signal);
      const blob = rangedBlob(answer, offset, end);
      if (blob !== undefined) return blob;
      answer.body.discard();
    }
    const answer = await this.#send('blob', 'GET', repository, path, IDENTITY, signal);
    const blob = rangedBlob(answer, 0);
    if (blob !== undefined) return blob;
    answer.body.discard();
    throw statusFailure(answer, answer.name);
  }

  async relay(
    repository: string,
    path: string,
    options: RequestOptions & { readonly accept?: string | undefined },
  ): Promise<RelayedAnswer> {
    const headers = options.accept === undefined ? IDENTITY : { ...IDENTITY, accept: options.accept };
    const answer = await this.#send('other', 'GET', repository, path, headers, options.signal);
    if (answer.status === 401 || answer.status === 403) {
      answer.body.discard();
      throw statusFailure(answer, answer.name);
    }
    const relayed: Record<string, string> = {};
    for (const name of RELAYED_HEADERS) {
      const value = answer.headers[name];
      if (value !== undefined) relayed[name] = value;
    }
    return { status: answer.status, headers: relayed, bytes: await readLimited(answer) };
  }

  #send(
    kind: RegistryRequest['kind'],
    method: RegistryRequest['method'],
    repository: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<RegistryAnswer> {
    const name = upstreamRepository(this.host, repository);
    const url = repositoryUrl(this.#endpoint, name, path);
    return this.#requests.send({ kind, method, repository: name, url, headers, signal });
  }
}

function isHeadRefused(answer: RegistryAnswer): boolean {
  return HEAD_UNKNOWN.includes(answer.status) || (answer.redirected && HEAD_UNSIGNED.includes(answer.status));
}

/** @throws unless this is 2xx and something that a registry can have sent. */
function requireContent(answer: RegistryAnswer): void {
  const { status, headers, name } = answer;
  if (status !== 200 && status !== 206) {
    answer.body.discard();
    throw statusFailure(answer, name);
  }
  const type = bareMediaType(headers['content-type'] ?? '');
  if (type === 'text/html' || type === 'application/xhtml+xml') {
    answer.body.discard();
    throw new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: a web page (${type}), not a registry's answer`, {
      upstreamStatus: status,
    });
  }
}

/** @returns undefined if the answer has no bytes that can be placed: ask again without a range. */
function rangedBlob(answer: RegistryAnswer, offset: number, end?: number): BlobBody | undefined {
  const { status, headers, body, name } = answer;
  if (RANGE_REFUSED.includes(status)) return undefined;
  requireContent(answer);
  const encoding = headers['content-encoding'];
  if (status === 206) {
    const range = parseContentRange(headers['content-range']);
    if (range === undefined || range.start > offset || isEncoded(encoding)) return undefined;
    const last = Math.min(end ?? Number.POSITIVE_INFINITY, (range.sizeBytes ?? range.end + 1) - 1);
    body.requireBytes(last - range.start + 1);
    return { sizeBytes: range.sizeBytes, offset: range.start, body };
  }
  if (!isEncoded(encoding)) return { sizeBytes: contentLength(answer), offset: 0, body };
  return { sizeBytes: undefined, offset: 0, body: decodeBody(body, encoding, name) };
}

async function readLimited(answer: RegistryAnswer): Promise<Uint8Array> {
  const { body, headers, name, status } = answer;
  const encoding = headers['content-encoding'];
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of isEncoded(encoding) ? decodeBody(body, encoding, name) : body) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_MANIFEST_BYTES) {
      throw new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: more than ${MAX_MANIFEST_BYTES} bytes`, {
        upstreamStatus: status,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function manifestHead(answer: RegistryAnswer): ManifestHead {
  const digest = answer.headers['docker-content-digest'];
  const sizeBytes = contentLength(answer);
  return {
    digest: digest !== undefined && isDigest(digest) ? digest : undefined,
    contentType: answer.headers['content-type'],
    // No manifest is empty: some registries say 0 on HEAD for want of knowing.
    sizeBytes: sizeBytes === 0 ? undefined : sizeBytes,
  };
}

function contentLength(answer: RegistryAnswer): number | undefined {
  const text = answer.headers['content-length'];
  if (text === undefined || !/^\d{1,15}$/.test(text) || isEncoded(answer.headers['content-encoding'])) return undefined;
  return Number(text);
}

function isEncoded(encoding: string | undefined): encoding is string {
  return encoding !== undefined && encoding.trim() !== '' && encoding.trim().toLowerCase() !== 'identity';
}
