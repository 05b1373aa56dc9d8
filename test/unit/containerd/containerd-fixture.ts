import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { ContainerdContent } from '../../../src/containerd/containerd-content.ts';
import type { InfoMessage } from '../../../src/containerd/content-api.ts';
import type { ContentClient } from '../../../src/containerd/content-client.ts';
import { type Digest, hexOf } from '../../../src/oci/digest.ts';

const PAGE = 100;
const RETRY_MS: readonly [first: number, longest: number] = [5, 20];

/** A containerd as its API shows it: its metadata here, its files in a folder; started and stopped at will. */
export class ScriptedContainerd {
  readonly folder: string;
  readonly infos = new Map<Digest, InfoMessage>();
  /** Calls that were made. */
  readonly asked = { lists: 0, infos: 0 };
  readonly logs: { readonly level: number; readonly msg: string; readonly retryMs?: number }[] = [];
  /** The stream of events ends right after a list. */
  hangUpAfterListing = false;
  #running = true;
  readonly #subscribers = new Set<(topic: string | undefined) => void>();
  readonly #contents: ContainerdContent[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<ScriptedContainerd> {
    const containerd = new ScriptedContainerd(await mkdtemp(join(tmpdir(), 'wl-content-')));
    await mkdir(containerd.#blobs, { recursive: true });
    await mkdir(join(containerd.folder, 'ingest'));
    await writeFile(containerd.socketPath, '');
    return containerd;
  }

  get socketPath(): string {
    return join(this.folder, 'c.sock');
  }

  /** Follows it; quick, so that a test need not wait. */
  content({ lookEveryMs = 3_600_000, contentDir = this.folder, retryMs = RETRY_MS } = {}): ContainerdContent {
    const { logs } = this;
    const stream = { write: (line: string) => void logs.push(JSON.parse(line)) };
    const content = new ContainerdContent({
      socketPath: this.socketPath,
      contentDir,
      namespace: 'k8s.io',
      connect: async () => this.#client(),
      logger: pino({ level: 'debug' }, stream),
      timing: { looksAfterMs: [1, 20], lookEveryMs, retryMs },
    });
    this.#contents.push(content);
    return content;
  }

  /** A content with its file. @param source null: it came from no registry. */
  async add(text: string, source: string | null = 'library/redis'): Promise<Digest> {
    const digest = `sha256:${createHash('sha256').update(text).digest('hex')}` as Digest;
    this.label(digest, text.length, source);
    await writeFile(join(this.#blobs, hexOf(digest)), text);
    return digest;
  }

  label(digest: Digest, size: number, source: string | null): void {
    const labels = source === null ? {} : { 'containerd.io/distribution.source.docker.io': source };
    this.infos.set(digest, { digest, size, createdAt: { seconds: 1_700_000_000 }, labels });
  }

  /** As the garbage collector does it: without a word. */
  async collect(digest: Digest): Promise<void> {
    this.infos.delete(digest);
    await unlink(join(this.#blobs, hexOf(digest)));
  }

  event(topic = '/images/create'): void {
    for (const tell of this.#subscribers) tell(topic);
  }

  /** Its connections end, and new ones fail. */
  stop(): void {
    this.#running = false;
    for (const tell of this.#subscribers) tell(undefined);
  }

  start(): void {
    this.#running = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#contents.map((content) => content.stop()));
    await rm(this.folder, { recursive: true });
  }

  get #blobs(): string {
    return join(this.folder, 'blobs', 'sha256');
  }

  #expectRunning(): void {
    if (!this.#running) throw new Error('14 UNAVAILABLE: no connection established');
  }

  #client(): ContentClient {
    const { infos, asked } = this;
    const expectRunning = () => this.#expectRunning();
    const subscribers = this.#subscribers;
    const hangUp = () => {
      if (this.hangUpAfterListing) for (const tell of subscribers) tell(undefined);
    };
    return {
      async *list() {
        expectRunning();
        asked.lists += 1;
        const all = [...infos.values()];
        for (let at = 0; at < all.length; at += PAGE) yield all.slice(at, at + PAGE);
        hangUp();
      },
      async info(digest) {
        expectRunning();
        asked.infos += 1;
        return infos.get(digest);
      },
      async *changes(signal) {
        const topics: (string | undefined)[] = [];
        let wake = () => {};
        const tell = (topic: string | undefined) => {
          topics.push(topic);
          wake();
        };
        subscribers.add(tell);
        signal.addEventListener('abort', () => tell(undefined), { once: true });
        try {
          for (;;) {
            const topic = topics.shift();
            if (topic !== undefined) yield topic;
            else if (topics.length > 0 || signal.aborted) return;
            else {
              await new Promise<void>((resolve) => {
                wake = resolve;
              });
              if (topics[0] === undefined) return;
            }
          }
        } finally {
          subscribers.delete(tell);
        }
      },
      close() {},
    };
  }
}
