import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, type Dispatcher } from 'undici';
import type { Digest } from '../../../src/oci/digest.ts';
import { MANIFEST_ACCEPT, readManifest } from '../../../src/oci/manifest.ts';
import { parseContentRange } from '../../../src/oci/range.ts';

/** containerd's default: three blobs at a time. */
const PARALLEL_BLOBS = 3;
const RETRY_MS = 100;

export interface PullOptions {
  /** The agent, `http://10.86.0.2:5050`. */
  readonly mirror: string;
  /** The registry that it is to ask, its `?ns=`. */
  readonly ns: string;
  readonly repository: string;
  /** A tag or a digest. */
  readonly reference: string;
  /** It fails when no byte has come for so long, however often it was tried. */
  readonly patienceMs?: number;
}

export interface PullReport {
  /** Every manifest and blob whose bytes had their digest. */
  readonly digests: readonly Digest[];
  readonly receivedBytes: number;
  /** How often the agent did not answer, answered with an error, or broke off, and was asked again. */
  readonly retries: number;
  readonly seconds: number;
}

/**
 * One pull by a plain HTTP client: asks one agent, and nobody else, for the manifests and for three blobs at a time;
 * asks again, from where it was, whatever happens; checks every digest.
 */
export class Pull {
  /** Rejects with what was wrong: a digest, or an agent that gave nothing for too long. */
  readonly done: Promise<PullReport>;
  receivedBytes = 0;
  readonly #options: Required<PullOptions>;
  readonly #http: Agent;
  readonly #left = new AbortController();
  readonly #digests: Digest[] = [];
  #retries = 0;
  #lastError: unknown;
  #lastByteMs = performance.now();

  constructor(options: PullOptions) {
    this.#options = { patienceMs: 60_000, ...options };
    // Connections of an agent that was killed must not be waited for.
    this.#http = new Agent({ connections: 2 * PARALLEL_BLOBS, bodyTimeout: 30_000, headersTimeout: 40_000 });
    this.done = this.#run().finally(() => this.#http.destroy());
    this.done.catch(() => {
      // Whoever waits sees it; a test that has ended does not wait.
    });
  }

  /** Leaves in the middle. */
  leave(): void {
    this.#left.abort(new Error('the client left'));
  }

  async #run(): Promise<PullReport> {
    const startedMs = performance.now();
    let manifest = await this.#manifest(this.#options.reference);
    const child =
      manifest.mediaType.includes('index') || manifest.mediaType.includes('list') ? manifest.children[0] : undefined;
    if (child !== undefined) manifest = await this.#manifest(child.digest);
    const queue = [...new Set(manifest.children.map(({ digest }) => digest))];
    const work = async (): Promise<void> => {
      for (let digest = queue.shift(); digest !== undefined; digest = queue.shift()) await this.#blob(digest);
    };
    await Promise.all(Array.from({ length: PARALLEL_BLOBS }, work)).catch((error) => {
      this.#left.abort(error);
      throw error;
    });
    return {
      digests: this.#digests,
      receivedBytes: this.receivedBytes,
      retries: this.#retries,
      seconds: (performance.now() - startedMs) / 1000,
    };
  }

  async #manifest(reference: string) {
    const parts: Buffer[] = [];
    const named = await this.#body(`manifests/${reference}`, (part) => parts.push(part));
    const bytes = Buffer.concat(parts);
    this.#check(reference.includes(':') ? reference : named, createHash('sha256').update(bytes).digest('hex'));
    const manifest = readManifest(bytes);
    if (manifest === undefined) throw new Error(`${reference} is no manifest`);
    return manifest;
  }

  async #blob(digest: Digest): Promise<void> {
    const hash = createHash('sha256');
    await this.#body(`blobs/${digest}`, (part) => hash.update(part));
    this.#check(digest, hash.digest('hex'));
  }

  #check(digest: string, hex: string): void {
    if (digest !== `sha256:${hex}`) throw new Error(`${digest}: the bytes that came are sha256:${hex}`);
    this.#digests.push(digest as Digest);
  }

  /** Hands on a body from its first byte to its last, in as many requests as it takes. @returns its digest header */
  async #body(path: string, onPart: (part: Buffer) => void): Promise<string> {
    let position = 0;
    this.#lastByteMs = performance.now();
    for (;;) {
      try {
        const response = await this.#request(path, position);
        for await (const part of response.body as AsyncIterable<Buffer>) {
          position += part.length;
          this.receivedBytes += part.length;
          this.#lastByteMs = performance.now();
          onPart(part);
        }
        return String(response.headers['docker-content-digest'] ?? '');
      } catch (error) {
        this.#left.signal.throwIfAborted();
        this.#lastError = error;
        this.#retries += 1;
        if (performance.now() - this.#lastByteMs > this.#options.patienceMs) {
          const { mirror } = this.#options;
          throw new Error(`${mirror} gave nothing for too long: ${path} at byte ${position}`, {
            cause: this.#lastError,
          });
        }
        await sleep(RETRY_MS, undefined, { signal: this.#left.signal });
      }
    }
  }

  async #request(path: string, position: number): Promise<Dispatcher.ResponseData> {
    const { mirror, ns, repository } = this.#options;
    const response = await this.#http.request({
      origin: mirror,
      path: `/v2/${repository}/${path}?ns=${ns}`,
      method: 'GET',
      headers: { accept: MANIFEST_ACCEPT, ...(position > 0 ? { range: `bytes=${position}-` } : {}) },
      signal: this.#left.signal,
    });
    const start = parseContentRange(String(response.headers['content-range']))?.start;
    if (position === 0 ? response.statusCode === 200 : response.statusCode === 206 && start === position)
      return response;
    const text = (await response.body.text()).slice(0, 300);
    throw new Error(`${path} from ${position}: ${response.statusCode} ${text}`);
  }
}
