import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import type { Timers } from '../../time/timers.ts';

/**
 * stranger: no proof of the cluster secret, or another protocol than ours. unfinished: ended or fell silent before its
 * proof, as a member does that is busy or gives a dial up, and who only looks whether a port is open. nonsense: a member
 * that does not speak as agreed. busy: no room. version: a wire version that this one does not talk to.
 */
export type RefusalReason = 'stranger' | 'unfinished' | 'nonsense' | 'busy' | 'version';

/** One line in so long for each reason, with the number of those that were left out. */
const LOG_EVERY_MS = 5_000;

/** Each refused connection is counted; who knocks often does not fill the log. */
export class Refusals {
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  readonly #timers: Timers;
  readonly #logged = new Map<RefusalReason, { atMs: number; left: number }>();

  constructor({ metrics, logger, timers }: { metrics: Metrics; logger: Logger; timers: Timers }) {
    this.#metrics = metrics;
    this.#logger = logger;
    this.#timers = timers;
  }

  count(
    reason: RefusalReason,
    details: { readonly address: string; readonly why?: string; readonly peer?: string },
  ): void {
    this.#metrics.peerRefused.inc({ plane: 'p2p', reason });
    const last = this.#logged.get(reason);
    const now = this.#timers.now();
    if (last !== undefined && now - last.atMs < LOG_EVERY_MS) {
      last.left += 1;
      return;
    }
    this.#logged.set(reason, { atMs: now, left: 0 });
    const level = reason === 'busy' || reason === 'unfinished' ? 'debug' : 'warn';
    this.#logger[level]({ reason, ...details, notLogged: last?.left ?? 0 }, 'connection of another refused');
  }
}
