import type { NumberedIngest } from '../pull/recent-ingests.ts';
import type { RecentPull } from './agent-status.ts';
import type { EventFeed } from './event-stream.ts';
import type { History } from './history.ts';
import type { StatusReport } from './status-report.ts';

export interface PageFeedOptions {
  readonly report: Pick<StatusReport, 'read'>;
  readonly history: Pick<History, 'since' | 'sequence'>;
  readonly recent: (sinceSequence: number) => readonly NumberedIngest[];
  readonly nameOf?: (peerId: string) => string | undefined;
  readonly ready: () => boolean;
}

/**
 * What the page is told, as server-sent events:
 * `status` (AgentStatus) whenever it has changed, `recent` (RecentPull[]) and `history` (HistorySample[]): first all,
 * then what is new.
 */
export class PageFeed implements EventFeed {
  readonly #options: PageFeedOptions;
  #recentSequence = 0;
  #historySequence = 0;
  readonly #told = new Map<boolean, string>();

  constructor(options: PageFeedOptions) {
    this.#options = options;
  }

  async all(names: boolean): Promise<string> {
    const { history, recent } = this.#options;
    const status = await this.#status(names);
    // Only now: what ends from here on is news.
    return (
      event('recent', this.#pulls(recent(0), names)) +
      event('history', history.since(0, performance.now())) +
      event('status', status)
    );
  }

  async news(names: readonly boolean[]): Promise<ReadonlyMap<boolean, string>> {
    const { history, recent } = this.#options;
    const ended = recent(this.#recentSequence);
    const samples = history.since(this.#historySequence, performance.now());
    const historySequence = history.sequence;
    const news = new Map<boolean, string>();
    for (const told of names) {
      const status = await this.#status(told);
      // A clock that ticks is no news.
      const {
        uptimeMs: _,
        lastHour: { overMs: __, ...lastHour },
        gone,
        ...rest
      } = status;
      const text = JSON.stringify([lastHour, gone.map(({ nodeName }) => nodeName), rest]);
      const changed = this.#told.get(told) !== text;
      this.#told.set(told, text);
      news.set(
        told,
        (ended.length === 0 ? '' : event('recent', this.#pulls(ended, told))) +
          (samples.length === 0 ? '' : event('history', samples)) +
          (changed ? event('status', status) : ''),
      );
    }
    this.#recentSequence = ended.at(-1)?.sequence ?? this.#recentSequence;
    this.#historySequence = historySequence;
    return news;
  }

  #status(names: boolean) {
    const { report, ready } = this.#options;
    return report.read(ready(), names);
  }

  #pulls(ended: readonly NumberedIngest[], names: boolean): RecentPull[] {
    const nowMs = performance.now();
    return ended.map(({ origin, writtenBytes, code, parents, endedAtMs, times, ...pull }) => ({
      ...pull,
      registry: origin.registry,
      repository: names ? origin.repository : null,
      sizeBytes: writtenBytes,
      code: code ?? null,
      from: parents.map((peerId) => this.#options.nameOf?.(peerId) ?? peerId),
      times,
      endedMsAgo: Math.round(nowMs - endedAtMs),
    }));
  }
}

/** JSON has no line breaks of its own. */
function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
