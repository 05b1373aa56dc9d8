import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { ContentClient } from './content-client.ts';
import { ContentFolder } from './content-folder.ts';
import { Looks, type LookTiming } from './content-looks.ts';
import { type HeldContent, HeldContents } from './held-content.ts';

export interface ContentChange {
  readonly added: readonly Digest[];
  readonly removed: readonly Digest[];
}

export interface ContainerdContentOptions {
  readonly socketPath: string;
  /** `io.containerd.content.v1.content`, which may be mounted read-only. */
  readonly contentDir: string;
  readonly namespace: string;
  readonly connect?: (socketPath: string, namespace: string) => Promise<ContentClient>;
  readonly logger: Logger;
  readonly timing?: Partial<ContentTiming>;
}

interface ContentTiming extends LookTiming {
  readonly listEveryMs: number;
  /** Between tries to reach containerd: the first, and the longest. */
  readonly retryMs: readonly [first: number, longest: number];
}

/** In ms. */
const TIMING: ContentTiming = {
  looksAfterMs: [500, 5_000],
  lookEveryMs: 30_000,
  listEveryMs: 600_000,
  retryMs: [500, 5_000],
};

/** Questions to containerd at once. */
const AT_ONCE = 8;
/** A content without a source is asked about so often: its labels may trail it. */
const MAX_ASKED = 4;

/**
 * What one namespace of a containerd holds that came from a registry, as far as it is known: followed by its events,
 * and looked after in its directory. Lossy by nature: whoever opens a file checks that it is there, and says so here if
 * not.
 *
 * ```
 *  waiting for the socket ──▶ subscribed ──▶ listed ──▶ following: look after events, each 30 s; list each 10 min
 *        ▲   (warns once, waits ever longer)                │
 *        └────────────── the connection ended ──────────────┘   what was known stays: the files are there
 * ```
 * A look reads the names in the directory, and asks containerd about the new ones alone. Of a list, too, only what lies
 * in the directory counts: it may not be mounted.
 */
export class ContainerdContent {
  readonly #options: ContainerdContentOptions;
  readonly #timing: ContentTiming;
  readonly #folder: ContentFolder;
  readonly #held = new HeldContents();
  /** What lies in the directory, but has no source or is another namespace's, and how often it was asked about. */
  readonly #strangers = new Map<Digest, number>();
  readonly #listeners = new Set<(change: ContentChange) => void>();
  readonly #stop = new AbortController();
  readonly #listedOnce = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  #connected = false;
  /** So that a containerd that is away is told of once. */
  #complained = false;

  constructor(options: ContainerdContentOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#folder = new ContentFolder(options.contentDir);
  }

  /** Is containerd being followed now? */
  get connected(): boolean {
    return this.#connected;
  }

  /** Resolves when all was listed for the first time, or `stop` was called. Never rejects. */
  get listed(): Promise<void> {
    return this.#listedOnce.promise;
  }

  /** Returns at once; what is held comes as changes. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the content is left'));
    this.#listedOnce.resolve();
    await this.#running;
  }

  /** From memory, without a system call. */
  get(digest: Digest): HeldContent | undefined {
    return this.#held.get(digest);
  }

  entries(): IterableIterator<[Digest, HeldContent]> {
    return this.#held.entries();
  }

  pathOf(digest: Digest): string {
    return this.#folder.pathOf(digest);
  }

  /** Its file is not there, or not what it was. */
  vanished(digest: Digest): void {
    if (this.#held.delete(digest)) this.#tell({ added: [], removed: [digest] });
  }

  /** Listeners must not throw. @returns unsubscribe */
  subscribe(listener: (change: ContentChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const [firstMs, longestMs] = this.#timing.retryMs;
    let retryMs = firstMs;
    while (!signal.aborted) {
      const sinceMs = performance.now();
      try {
        await this.#session();
      } catch (error) {
        if (signal.aborted) return;
        // Not by having listed: who fails right after it would be listed again and again.
        if (this.#connected && performance.now() - sinceMs > longestMs) {
          retryMs = firstMs;
          this.#complained = false;
        }
        this.#complain(error, retryMs);
      } finally {
        this.#connected = false;
      }
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      retryMs = Math.min(longestMs, retryMs * 2);
    }
  }

  #complain(err: unknown, retryMs: number): void {
    const { logger, socketPath, contentDir } = this.#options;
    const context = { socket: socketPath, contentDir, retryMs, err };
    if (this.#complained) logger.debug(context, 'containerd cannot be followed yet');
    else {
      logger.warn(context, 'containerd cannot be followed: what it gets and deletes is not noticed until it can');
    }
    this.#complained = true;
  }

  /** From connecting to the end of the connection, with which it rejects. */
  async #session(): Promise<never> {
    const { socketPath, namespace, contentDir, logger, connect = connectByGrpc } = this.#options;
    await Promise.all([access(socketPath), access(contentDir)]);
    const client = await connect(socketPath, namespace);
    const session = new AbortController();
    const signal = AbortSignal.any([session.signal, this.#stop.signal]);
    const looks = new Looks(this.#timing);
    try {
      // Whatever is under way ends with the stream of events.
      this.#hear(client, looks, signal).catch((error: unknown) => session.abort(error));
      await this.#list(client, signal);
      await this.#look(client, false, signal);
      this.#connected = true;
      this.#listedOnce.resolve();
      logger.info({ socket: socketPath, namespace, blobs: this.#held.size }, "containerd's content is shared");
      return await this.#follow(client, looks, signal);
    } catch (error) {
      throw session.signal.aborted ? session.signal.reason : error;
    } finally {
      session.abort(new Error('the session ended'));
      client.close();
    }
  }

  async #hear(client: ContentClient, looks: Looks, signal: AbortSignal): Promise<never> {
    for await (const topic of client.changes(signal)) {
      this.#options.logger.trace({ topic }, 'containerd tells');
      looks.event();
    }
    throw new Error('containerd ended the stream of events');
  }

  async #follow(client: ContentClient, looks: Looks, signal: AbortSignal): Promise<never> {
    let listAtMs = performance.now() + this.#timing.listEveryMs;
    for (;;) {
      const afterEvent = await looks.next(signal);
      if (performance.now() >= listAtMs) {
        await this.#list(client, signal);
        listAtMs = performance.now() + this.#timing.listEveryMs;
      }
      await this.#look(client, afterEvent, signal);
    }
  }

  /** Everything anew: sources change, and events get lost. */
  async #list(client: ContentClient, signal: AbortSignal): Promise<void> {
    const there = new Set(await this.#folder.digests());
    const seen = new Set<Digest>();
    for await (const page of client.list(signal)) {
      const added: Digest[] = [];
      for (const info of page) {
        const { digest } = info;
        if (!isDigest(digest) || !there.has(digest)) continue;
        const isNew = this.#held.get(digest) === undefined;
        if (this.#held.put(digest, info)) {
          seen.add(digest);
          this.#strangers.delete(digest);
          if (isNew) added.push(digest);
        } else if (!this.#strangers.has(digest)) this.#strangers.set(digest, 1);
      }
      this.#tell({ added, removed: [] });
    }
    this.#forget((digest) => !seen.has(digest));
  }

  /** @param afterEvent what had no source may have one now. */
  async #look(client: ContentClient, afterEvent: boolean, signal: AbortSignal): Promise<void> {
    const there = new Set(await this.#folder.digests());
    this.#forget((digest) => !there.has(digest));
    for (const digest of this.#strangers.keys()) if (!there.has(digest)) this.#strangers.delete(digest);
    const unknown = [...there].filter((digest) => {
      const asked = this.#strangers.get(digest) ?? 0;
      return this.#held.get(digest) === undefined && (asked === 0 || (afterEvent && asked < MAX_ASKED));
    });
    const added: Digest[] = [];
    const waiting = unknown.values();
    const ask = async () => {
      for (const digest of waiting) {
        const info = await client.info(digest, signal);
        if (info !== undefined && this.#held.put(digest, info)) {
          this.#strangers.delete(digest);
          added.push(digest);
        } else this.#strangers.set(digest, (this.#strangers.get(digest) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask)).finally(() => this.#tell({ added, removed: [] }));
  }

  #forget(isGone: (digest: Digest) => boolean): void {
    const removed: Digest[] = [];
    for (const [digest] of this.#held.entries()) if (isGone(digest)) removed.push(digest);
    for (const digest of removed) this.#held.delete(digest);
    this.#tell({ added: [], removed });
  }

  #tell(change: ContentChange): void {
    if (change.added.length === 0 && change.removed.length === 0) return;
    for (const listener of this.#listeners) listener(change);
  }
}

/** Only now: an agent that shares no content does without the memory that gRPC takes. */
async function connectByGrpc(socketPath: string, namespace: string): Promise<ContentClient> {
  const { connectToContent } = await import('./content-client.ts');
  return connectToContent(socketPath, namespace);
}
