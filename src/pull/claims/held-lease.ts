import { WindlassError } from '../../errors.ts';
import type { Timers } from '../../time/timers.ts';
import type { Lease } from './claims.ts';
import type { Report } from './messages.ts';

/** What ends a lease, for its keeper. */
type Ending = Pick<Report, 'state'> & Partial<Report>;

/** What an agent says of itself with each claim and renewal; as reports have it. */
export type AgentFacts = Pick<Report, 'uplink' | 'carries' | 'strained'>;

/**
 * The writer's side of a grant.
 *
 * ```
 *   running ── renewed each second with phase, prefix, rates ──▶ running
 *      ├─ failed(error), left(), held ──▶ ended      told to the keeper at once
 *      └─ `lost` to a renewal, revoked ──▶ lost      `lost` is aborted: its holder becomes a reader
 * ```
 */
export class HeldLease implements Lease {
  readonly key: string;
  readonly source: string;
  readonly registry: string;
  readonly grant: string;
  /** Of a blob that takes a share of an uplink that matters (see Turns). */
  readonly isLarge: boolean;
  /** A renewal is on its way. */
  renewing = false;
  readonly #timers: Timers;
  readonly #onEnd: (ending: Ending) => void;
  readonly #lost = new AbortController();
  readonly #over = new AbortController();
  #phase: 'opening' | 'writing' | 'verifying' = 'opening';
  #prefix: number;
  #sent = 0;
  #ended = false;
  #last: { readonly atMs: number; readonly prefix: number; readonly sent: number };

  constructor(
    grant: {
      readonly id: string;
      readonly key: string;
      readonly source: string;
      readonly registry: string;
      readonly prefix: number;
      readonly isLarge: boolean;
    },
    timers: Timers,
    onEnd: (ending: Ending) => void,
  ) {
    this.key = grant.key;
    this.source = grant.source;
    this.registry = grant.registry;
    this.grant = grant.id;
    this.isLarge = grant.isLarge;
    this.#prefix = grant.prefix;
    this.#timers = timers;
    this.#onEnd = onEnd;
    this.#last = { atMs: timers.now(), prefix: grant.prefix, sent: 0 };
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborted when it was lost, or has ended. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  get isOver(): boolean {
    return this.#ended || this.#lost.signal.aborted;
  }

  progress(phase: 'opening' | 'writing' | 'verifying', prefix: number): void {
    this.#phase = phase;
    this.#prefix = prefix;
  }

  sent(bytes: number): void {
    this.#sent += bytes;
  }

  failed(error: WindlassError): void {
    const { code, message, upstreamStatus, retryAfterMs } = error;
    this.end({
      state: 'failed',
      code,
      message: message.slice(0, 500),
      ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.min(86_400_000, Math.max(0, retryAfterMs)) }),
    });
  }

  left(): void {
    this.end({ state: 'left' });
  }

  /** Once; nothing is said of a lease that was lost. */
  end(ending: Ending): void {
    if (this.isOver) return;
    this.#ended = true;
    this.#onEnd(ending);
    this.#over.abort(new WindlassError('PEER_BUSY', `the right to ${this.key} that was used has ended`));
  }

  lose(): void {
    if (this.isOver) return;
    this.#lost.abort(new WindlassError('PEER_BUSY', `another agent writes ${this.key} by now`));
    this.#over.abort(this.#lost.signal.reason);
  }

  /** What the next renewal says; rates since the last one. */
  renewal(incarnation: number, facts: AgentFacts): Report {
    const { key, source, grant } = this;
    const nowMs = this.#timers.now();
    const seconds = (nowMs - this.#last.atMs) / 1000;
    const rates =
      seconds <= 0
        ? {}
        : {
            rate: Math.max(0, this.#prefix - this.#last.prefix) / seconds,
            output: (this.#sent - this.#last.sent) / seconds,
          };
    this.#last = { atMs: nowMs, prefix: this.#prefix, sent: this.#sent };
    return {
      key,
      incarnation,
      source,
      grant,
      state: 'writing',
      phase: this.#phase,
      prefix: this.#prefix,
      ...rates,
      ...facts,
    };
  }
}
