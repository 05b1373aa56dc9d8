import type { Logger } from 'pino';
import { hasCode } from '../errors.ts';
import { backOffMs } from '../kubernetes/back-off.ts';
import { Rounds } from '../kubernetes/rounds.ts';
import type { Timers } from '../time/timers.ts';
import type { SliceEvent } from './slice-event.ts';
import type { SliceList, SliceRequests } from './slice-requests.ts';

/** Between two tries. */
const LONGEST_WAIT_MS = 30_000;
/** As long as nothing was ever listed: a node that boots reaches the API server as soon as its network is up. */
const LONGEST_FIRST_WAIT_MS = 8_000;
const LONGEST_RETRY_AFTER_MS = 120_000;
/** A watch that ended is followed by another within this: an API server that restarts ends those of all agents. */
const NEXT_WATCH_MS = 500;
/** A watch that told nothing, and was over sooner, counts as a failure. */
const LIFE_MS = 5_000;

const GONE = 410;

export interface SliceFollowerOptions {
  readonly requests: Pick<SliceRequests, 'list' | 'watch'>;
  /** All slices, in place of those before. */
  readonly onList: (list: SliceList) => void;
  readonly onEvent: (event: SliceEvent) => void;
  readonly timers: Timers;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly logger: Logger;
}

/**
 * Keeps up with the slices, for ever.
 *
 * ```
 *            ┌────────────── 410, an error in the stream, cannot be opened: after a wait ───────────────┐
 *            ▼                                                                                          │
 *  start ─▶ list ── slices, version ─▶ watch ── events, bookmarks: the version moves on ─┐              │
 *            │ ▲                         ▲ │ └────────────────────────────────────────────┘              │
 *   failed:  └─┘ after a wait            └─┘ ended, cut, silent: from the version it came to      ───────┘
 * ```
 *
 * Nothing is taken back while the server cannot be reached. After an outage the list is taken anew rather than the
 * watch tried from the old version: an API server whose etcd was restored from a backup may be behind that version,
 * and would tell nothing until it had caught up.
 */
export class SliceFollower {
  readonly #options: SliceFollowerOptions;
  readonly #rounds: Rounds;
  /** Where to watch from; undefined: to be listed. */
  #version: string | undefined;
  #hasListed = false;
  /** In a row. */
  #failures = 0;
  /** As logged last, while it fails. */
  #failure: string | undefined;

  constructor(options: SliceFollowerOptions) {
    this.#options = options;
    this.#rounds = new Rounds({
      round: (signal) => this.#round(signal),
      onFailure: (error) => this.#failed(error),
      timers: options.timers,
    });
  }

  start(): void {
    this.#rounds.start();
  }

  /** Afterwards nobody is called any more. */
  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** @returns how long to wait before the next one */
  async #round(signal: AbortSignal): Promise<number> {
    const { requests, onList, timers, random } = this.#options;
    if (this.#version === undefined) {
      const list = await requests.list(signal);
      if (signal.aborted) return 0;
      this.#version = list.resourceVersion;
      this.#hasListed = true;
      onList(list);
    }
    const startMs = timers.now();
    let told = false;
    const onEvent = (event: SliceEvent) => {
      if (signal.aborted) return;
      told = true;
      this.#failures = 0;
      this.#take(event);
    };
    await requests.watch(this.#version, { signal, onOpen: () => this.#works(), onEvent });
    if (told || timers.now() - startMs >= LIFE_MS) {
      this.#failures = 0;
      return NEXT_WATCH_MS * random();
    }
    return this.#backOff();
  }

  #take(event: SliceEvent): void {
    // Empty where a proxy or a test server leaves it out: what was there before is older, and good.
    if (event.resourceVersion !== '') this.#version = event.resourceVersion;
    if (event.type !== 'bookmark') this.#options.onEvent(event);
  }

  #failed(error: unknown): number {
    this.#version = undefined;
    const { upstreamStatus: status, retryAfterMs = 0 } = hasCode(error, 'KUBERNETES_UNAVAILABLE') ? error : {};
    const isFirst = this.#failures === 0;
    const waitMs = Math.max(this.#backOff(), Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
    // Not a fault: the server forgets old versions. It is listed at once, and again after a wait should that not help.
    if (status === GONE && isFirst) return 0;
    this.#complain(error, status);
    return waitMs;
  }

  #backOff(): number {
    const longestMs = this.#hasListed ? LONGEST_WAIT_MS : LONGEST_FIRST_WAIT_MS;
    const waitMs = backOffMs(this.#failures, longestMs, this.#options.random());
    this.#failures += 1;
    return waitMs;
  }

  /** Once when it begins, and when the reason becomes another. */
  #complain(error: unknown, status: number | undefined): void {
    const kind = status === undefined ? 'no answer' : String(status);
    if (kind === this.#failure) return;
    this.#failure = kind;
    const hint =
      status === 403 ? 'its service account needs get, list and watch of endpointslices in that namespace' : undefined;
    this.#options.logger.warn(
      { err: error, ...(hint === undefined ? {} : { hint }) },
      'discovery: the EndpointSlices cannot be read; the agents known so far stay',
    );
  }

  #works(): void {
    if (this.#failure === undefined) return;
    this.#failure = undefined;
    this.#options.logger.info('discovery: the EndpointSlices can be read again');
  }
}
