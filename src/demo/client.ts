import { createHash } from 'node:crypto';
import { Agent, type Dispatcher } from 'undici';
import { WindlassError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { type ChildDescriptor, MANIFEST_ACCEPT, type ManifestInfo, readManifest } from '../oci/manifest.ts';
import { parseContentRange } from '../oci/range.ts';

/** containerd's default: three blobs at a time. */
const PARALLEL_BLOBS = 3;

/** How a client goes about it: blobs whole; in two ranges, the second half first; or leaving half way. */
export type ClientManner = 'whole' | 'ranges' | 'quits';

export interface ClientOptions {
  readonly name: string;
  readonly manner: ClientManner;
  /** Mirror or registry, `http://127.0.0.1:5050`. */
  readonly url: string;
  /** The registry that a mirror is to ask; undefined where `url` is the registry itself. */
  readonly ns: string | undefined;
  readonly repository: string;
  readonly tag: string;
  /** The registry, which a runtime asks when its mirror is gone; without it a client fails then. */
  readonly fallbackUrl?: string;
}

export interface ClientReport {
  readonly name: string;
  readonly manner: ClientManner;
  readonly outcome: 'complete' | 'quit' | 'failed';
  readonly receivedBytes: number;
  /** Manifests and blobs whose bytes had their digest. */
  readonly verified: number;
  readonly rangeRequests: number;
  /** Of the bytes received: from the registry, its mirror being gone. */
  readonly directBytes: number;
  readonly timeMs: number;
  readonly error: string | undefined;
}

/** Pulls an image the way containerd does, checks every digest, and keeps nothing. One instance a pull. */
export class Client {
  readonly #options: ClientOptions;
  readonly #http = new Agent({ connections: 2 * PARALLEL_BLOBS });
  readonly #quit = new AbortController();
  readonly #reading = new Map<Digest, number>();
  #expectedBytes = 0;
  #receivedBytes = 0;
  #verified = 0;
  #rangeRequests = 0;
  #directBytes = 0;
  /** The mirror is gone: whatever is left is asked of the registry. */
  #isDirect = false;
  #outcome: ClientReport['outcome'] | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Undefined while it pulls. */
  get outcome(): ClientReport['outcome'] | undefined {
    return this.#outcome;
  }

  /** Is a body of this blob on its way to this client? */
  isReading(digest: Digest): boolean {
    return (this.#reading.get(digest) ?? 0) > 0;
  }

  /** Never rejects, but when `signal` is aborted: what goes wrong is in the report. */
  async pull(signal: AbortSignal): Promise<ClientReport> {
    const startedMs = performance.now();
    let failure: string | undefined;
    try {
      await this.#pull(AbortSignal.any([signal, this.#quit.signal]));
      this.#outcome = 'complete';
    } catch (error) {
      signal.throwIfAborted();
      this.#outcome = this.#quit.signal.aborted ? 'quit' : 'failed';
      if (this.#outcome === 'failed') failure = error instanceof Error ? error.message : String(error);
    } finally {
      await this.#http.destroy();
    }
    const { name, manner } = this.#options;
    return {
      name,
      manner,
      outcome: this.#outcome,
      receivedBytes: this.#receivedBytes,
      verified: this.#verified,
      rangeRequests: this.#rangeRequests,
      directBytes: this.#directBytes,
      timeMs: performance.now() - startedMs,
      error: failure,
    };
  }

  async #pull(signal: AbortSignal): Promise<void> {
    let manifest = await this.#manifest(await this.#resolve(signal), signal);
    const child = manifest.mediaType.includes('index') ? manifest.children[0] : undefined;
    if (child !== undefined) manifest = await this.#manifest(child.digest, signal);
    this.#expectedBytes = manifest.children.reduce((sum, blob) => sum + blob.sizeBytes, 0);
    const queue = [...manifest.children];
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const work = async (): Promise<void> => {
      for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) await this.#blob(blob, either);
    };
    const workers = Array.from({ length: PARALLEL_BLOBS }, work);
    try {
      await Promise.all(workers);
    } finally {
      failed.abort();
      await Promise.allSettled(workers);
    }
  }

  async #resolve(signal: AbortSignal): Promise<Digest> {
    const response = await this.#asking(signal, async () => {
      const answer = await this.#request('HEAD', `manifests/${this.#options.tag}`, signal);
      await answer.body.dump();
      return answer;
    });
    const digest = String(response.headers['docker-content-digest']);
    if (!isDigest(digest)) throw new WindlassError('UPSTREAM_NONSENSE', `a tag without a digest: ${digest}`);
    return digest;
  }

  async #manifest(digest: Digest, signal: AbortSignal): Promise<ManifestInfo> {
    const bytes = await this.#asking(signal, async () => {
      const response = await this.#request('GET', `manifests/${digest}`, signal);
      return Buffer.from(await response.body.arrayBuffer());
    });
    this.#receive(bytes.length);
    this.#verify(digest, createHash('sha256').update(bytes).digest('hex'));
    const manifest = readManifest(bytes);
    if (manifest === undefined) throw new WindlassError('UPSTREAM_NONSENSE', `no manifest: ${digest}`);
    return manifest;
  }

  async #blob(blob: ChildDescriptor, signal: AbortSignal): Promise<void> {
    const hash = createHash('sha256');
    if (this.#options.manner !== 'ranges' || blob.sizeBytes < 2) {
      await this.#body(blob, undefined, (chunk) => hash.update(chunk), signal);
    } else {
      const middle = Math.floor(blob.sizeBytes / 2);
      const tail: Buffer[] = [];
      await Promise.all([
        this.#body(blob, { start: middle, end: blob.sizeBytes - 1 }, (chunk) => tail.push(chunk), signal),
        this.#body(blob, { start: 0, end: middle - 1 }, (chunk) => hash.update(chunk), signal),
      ]);
      for (const chunk of tail) hash.update(chunk);
    }
    this.#verify(blob.digest, hash.digest('hex'));
  }

  /** Hands on one body, chunk by chunk, and sees that it is the part that was asked for. */
  async #body(
    { digest, sizeBytes }: ChildDescriptor,
    range: { start: number; end: number } | undefined,
    onChunk: (chunk: Buffer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    this.#reading.set(digest, (this.#reading.get(digest) ?? 0) + 1);
    try {
      const end = range?.end ?? sizeBytes - 1;
      let at = range?.start ?? 0;
      await this.#asking(signal, async () => {
        // It broke after the last byte.
        if (at > end) return;
        const isPart = range !== undefined || at > 0;
        const headers = isPart ? { range: `bytes=${at}-${end}` } : {};
        if (isPart) this.#rangeRequests++;
        const response = await this.#request('GET', `blobs/${digest}`, signal, headers);
        if (isPart) {
          const got = parseContentRange(String(response.headers['content-range']));
          if (response.statusCode !== 206 || got?.start !== at || got.end !== end) {
            throw new WindlassError('UPSTREAM_NONSENSE', `asked for ${headers.range}, got ${response.statusCode}`);
          }
        }
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          at += chunk.length;
          this.#receive(chunk.length);
          onChunk(chunk);
          if (this.#options.manner === 'quits' && this.#receivedBytes * 2 >= this.#expectedBytes) this.#quit.abort();
        }
        if (at !== end + 1) throw new WindlassError('DIGEST_MISMATCH', `${digest}: up to ${at} of ${end + 1} bytes`);
      });
    } finally {
      this.#reading.set(digest, (this.#reading.get(digest) ?? 1) - 1);
    }
  }

  /** Once, and once more of the registry if the mirror is gone meanwhile, as runtimes go on at their next host. */
  async #asking<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    const wasDirect = this.#isDirect;
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (wasDirect || this.#options.fallbackUrl === undefined) throw error;
      this.#isDirect = true;
      return await ask();
    }
  }

  #receive(sizeBytes: number): void {
    this.#receivedBytes += sizeBytes;
    if (this.#isDirect) this.#directBytes += sizeBytes;
  }

  #verify(digest: Digest, hex: string): void {
    if (digest !== `sha256:${hex}`)
      throw new WindlassError('DIGEST_MISMATCH', `${digest}: the bytes are sha256:${hex}`);
    this.#verified++;
  }

  async #request(
    method: 'GET' | 'HEAD',
    path: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<Dispatcher.ResponseData> {
    const { repository, fallbackUrl } = this.#options;
    const isDirect = this.#isDirect && fallbackUrl !== undefined;
    const ns = isDirect ? undefined : this.#options.ns;
    const response = await this.#http.request({
      origin: isDirect ? fallbackUrl : this.#options.url,
      path: `/v2/${repository}/${path}`,
      method,
      headers: { accept: MANIFEST_ACCEPT, ...headers },
      signal,
      ...(ns === undefined ? {} : { query: { ns } }),
    });
    if (response.statusCode !== 200 && response.statusCode !== 206) {
      const text = (await response.body.text()).slice(0, 200);
      throw new WindlassError('UPSTREAM_UNAVAILABLE', `${method} ${path}: ${response.statusCode} ${text}`);
    }
    return response;
  }
}
