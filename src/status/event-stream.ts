import type { ServerResponse } from 'node:http';

export const MAX_LISTENERS = 16;
const EVERY_MS = 1_000;
/** Who has not taken this much, beyond what it was told at first, is let go: it may come back, and is told all then. */
const MAX_BEHIND_BYTES = 1024 * 1024;

/** What is told; each text a whole number of server-sent events. */
export interface EventFeed {
  /** For somebody new. `names`: may it know the names of repositories? */
  all(names: boolean): Promise<string>;
  /** What has changed since the last call, for each kind of listener that there is; empty text: nothing. */
  news(names: readonly boolean[]): Promise<ReadonlyMap<boolean, string>>;
}

export interface EventStreamOptions {
  readonly feed: EventFeed;
  readonly onError: (error: unknown) => void;
  /** For tests. */
  readonly everyMs?: number;
}

interface Listener {
  /** May it know the names of repositories? */
  readonly names: boolean;
  /** It was told all: news make sense from then on. */
  greeted: boolean;
  mayBeBehindBytes: number;
}

/**
 * Server-sent events to a bounded number of listeners, once a second; where there is no news a `beat`, so that each
 * side knows that the other one lives. Nothing runs while nobody listens.
 */
export class EventStream {
  readonly #options: EventStreamOptions;
  readonly #listeners = new Map<ServerResponse, Listener>();
  #timer: NodeJS.Timeout | undefined;
  #telling = false;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Answers with events until the listener leaves. @returns false, and nothing done, if there are too many. */
  add(response: ServerResponse, names: boolean): boolean {
    if (this.#listeners.size >= MAX_LISTENERS) return false;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // A proxy of nginx would hold them back.
      'x-accel-buffering': 'no',
    });
    const listener = { names, greeted: false, mayBeBehindBytes: MAX_BEHIND_BYTES };
    this.#listeners.set(response, listener);
    response.once('close', () => this.#remove(response));
    response.on('error', () => {});
    void this.#greet(response, listener);
    return true;
  }

  /** Ends all. Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    for (const response of this.#listeners.keys()) response.destroy();
  }

  async #greet(response: ServerResponse, listener: Listener): Promise<void> {
    try {
      const all = await this.#options.feed.all(listener.names);
      listener.mayBeBehindBytes += Buffer.byteLength(all);
      this.#send(response, listener, all);
      listener.greeted = true;
    } catch (error) {
      this.#options.onError(error);
      response.destroy();
    }
    // It may have left meanwhile.
    if (this.#listeners.has(response)) this.#timer ??= setInterval(() => void this.#tell(), this.#everyMs).unref();
  }

  async #tell(): Promise<void> {
    // One at a time, however long it takes.
    if (this.#telling) return;
    this.#telling = true;
    try {
      const greeted = [...this.#listeners].filter(([, listener]) => listener.greeted);
      const news = await this.#options.feed.news([...new Set(greeted.map(([, { names }]) => names))]);
      for (const [response, listener] of greeted) this.#send(response, listener, news.get(listener.names) || BEAT);
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#telling = false;
    }
  }

  #send(response: ServerResponse, { mayBeBehindBytes }: Listener, text: string): void {
    response.write(text);
    if (response.writableLength > mayBeBehindBytes) response.destroy();
  }

  #remove(response: ServerResponse): void {
    this.#listeners.delete(response);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  get #everyMs(): number {
    return this.#options.everyMs ?? EVERY_MS;
  }
}

const BEAT = 'event: beat\ndata: {}\n\n';
