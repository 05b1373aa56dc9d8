// Over 300 lines: what is asked and what is held, leases and yielding, is one state by key.

import { ERROR_TABLE, type ErrorCode, WindlassError } from '../../errors.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { sleep } from '../../time/sleep.ts';
import { Asking, type AskingOptions } from './asking.ts';
import { BoundedMap } from './bounded-map.ts';
import type { Claimed, ClaimRequest, Claims, Lease } from './claims.ts';
import { type AgentFacts, HeldLease } from './held-lease.ts';
import { type Claim, type ClaimAnswer, MAX_DURATION_MS, RENEW_MS, type Report } from './messages.ts';
import { Outbox } from './outbox.ts';
import type { Rates } from './rates.ts';
import { Turns, YIELD_MS } from './turns.ts';

/** An answer may be held back so long at the keeper. */
const HELD_MS = 2_000;
/**
 * `wait` is believed so long: a keeper that always says so is not to be waited for until the client gives up. More than
 * the 25 s within which an honest writer has its first byte, or has failed, twice.
 */
const WAITING_MS = 60_000;
const LEAST_PAUSE_MS = 20;
/** So often it is looked whether there is still a reason to yield: the blob that is written may be over soon. */
const YIELD_ONCE_MS = 50;
/** Where nobody else came for what was yielded, nobody pulls the same: its other blobs need not wait. */
const ALONE_MS = 5_000;

export interface ClaimerOptions extends AskingOptions {
  readonly rates: Rates;
  /** Bytes a second that this agent can send, where it is known (`peer.uploadRate`, or the most ever seen). */
  readonly uplink: () => number | undefined;
  /** See ClaimsOptions. */
  readonly isStrained: () => boolean;
  readonly metrics: Metrics;
}

/**
 * One agent in its role of claimer: asks keepers, keeps its leases alive, tells what became of what it claimed.
 *
 * ```
 *   claim ─▶ its turn, where it is large (see Turns)
 *     │
 *     ▼
 *   lease held already? ─▶ write
 *     │
 *     ▼          no answer             no answer          no answer              none
 *   keeper ───────────────▶ deputies ──────────▶ nearest that answers ──────▶ this agent's own keeper
 *     │ (a function call,      │ (ask the keeper      │ (the same for all who     │ grants: "self"
 *     │  where it is this      │  before they         │  cannot reach the         │
 *     │  agent)                │  grant)              │  three)                   │
 *     └──────────┬─────────────┴──────────────────────┴───────────────────────────┘
 *                ├─ wait ─▶ asked again, for as long as a keeper says that somebody writes
 *                └─ write, read, bytes, failed ─▶ Claimed
 * ```
 */
export class Claimer implements Claims {
  readonly #options: ClaimerOptions;
  readonly #asking: Asking;
  readonly #outbox: Outbox;
  readonly #turns: Turns;
  readonly #leases = new Map<string, HeldLease>();
  /** Grants that were revoked before we heard of them. */
  readonly #revoked = new BoundedMap<string, true>(1_000);
  #aloneUntilMs = Number.NEGATIVE_INFINITY;
  #cancelTick: (() => void) | undefined;
  #stopped = false;

  constructor(options: ClaimerOptions) {
    this.#options = options;
    this.#asking = new Asking(options);
    this.#outbox = new Outbox(options);
    this.#turns = new Turns(options.timers);
  }

  async claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed> {
    if (!this.#isForOthersToo(request)) return this.#untilAnswered(request, 0, signal);
    const { timers } = this.#options;
    const startMs = timers.now();
    const done = await this.#turns.take(signal);
    const yieldMs = this.#mayYield ? startMs + YIELD_MS - timers.now() : 0;
    // As will the next ones: none need wait for another's answer.
    if (yieldMs > 0) done();
    try {
      const claimed = await this.#untilAnswered(request, yieldMs, signal);
      const inVain = yieldMs > 0 && claimed.kind === 'write' && timers.now() >= startMs + YIELD_MS;
      if (inVain) this.#aloneUntilMs = timers.now() + ALONE_MS;
      return claimed;
    } finally {
      done();
    }
  }

  /** A large blob that nothing is known of yet, where there are others that may write it. */
  #isForOthersToo(request: ClaimRequest): boolean {
    if (!Turns.isLarge(request) || this.#options.roster.members().length === 1) return false;
    return request.prefix === 0 && request.failed.length === 0 && !this.#leases.has(request.key);
  }

  /** Others would be better writers of one more: this agent's uplink has one to feed already, or is too small for any. */
  get #mayYield(): boolean {
    const { isStrained, timers } = this.#options;
    if (isStrained()) return true;
    if (timers.now() < this.#aloneUntilMs) return false;
    return [...this.#leases.values()].some((lease) => lease.isLarge && !lease.isOver);
  }

  async #untilAnswered(request: ClaimRequest, yieldMs: number, signal: AbortSignal): Promise<Claimed> {
    const { timers, metrics } = this.#options;
    const startMs = timers.now();
    let heldMs = request.inline ? HELD_MS : 0;
    for (;;) {
      signal.throwIfAborted();
      const held = this.#leases.get(request.key);
      // As a manifest and as a blob one digest may be asked for at once: how its right ends is the first one's to say.
      if (held !== undefined && !held.isOver)
        return { kind: 'write', lease: held.source === request.source ? held : borrowed(held) };
      const said = this.#outbox.said(request.key);
      if (said !== undefined) await said;
      const patient = timers.now() - startMs < WAITING_MS;
      const askedMs = timers.now();
      const yieldsMs = this.#mayYield ? Math.max(0, startMs + yieldMs - askedMs) : 0;
      const claim = this.#claimOf(request, yieldsMs > 0 ? Math.min(YIELD_ONCE_MS, yieldsMs) : heldMs, yieldsMs > 0);
      const { answer, by } = await this.#asking.ask(claim, { patient, signal, onSilence: request.onSilence });
      if (answer.kind !== 'wait') {
        const claimed = this.#claimed(request, answer);
        if (claimed !== undefined) {
          metrics.claims.inc({ answer: by === 'self' && claimed.kind === 'write' ? 'self' : claimed.kind });
          return claimed;
        }
      }
      // The answer came at once, though it could have been held: no need to be asked by a thousand at that pace.
      const pauseMs = answer.kind === 'wait' ? answer.waitMs : 0;
      const quick = timers.now() - askedMs < LEAST_PAUSE_MS;
      await sleep(Math.min(HELD_MS, Math.max(pauseMs, quick ? LEAST_PAUSE_MS : 0)), signal, timers);
      if (yieldsMs === 0) heldMs = HELD_MS;
    }
  }

  held(
    key: string,
    source: string,
    held: { readonly sizeBytes?: number; readonly bytes?: Uint8Array; readonly ageMs?: number },
  ): void {
    const ending = {
      state: 'held' as const,
      ...(held.sizeBytes === undefined ? {} : { sizeBytes: held.sizeBytes }),
      ...(held.bytes === undefined ? {} : { bytes: Buffer.from(held.bytes).toString('base64') }),
      ...(held.ageMs === undefined ? {} : { ageMs: Math.max(0, held.ageMs) }),
    };
    const lease = this.#leases.get(key);
    if (lease !== undefined && !lease.isOver) {
      lease.end(ending);
      return;
    }
    const report = { key, incarnation: this.#options.roster.self.incarnation, source, ...ending };
    if (held.bytes === undefined) this.#later(report);
    else this.#outbox.send(report);
  }

  left(key: string, source: string): void {
    const lease = this.#leases.get(key);
    if (lease !== undefined && !lease.isOver) {
      if (lease.source === source) lease.left();
    } else this.#later({ key, incarnation: this.#options.roster.self.incarnation, source, state: 'left' });
  }

  /** The keeper says that another one writes by now. @returns true: it is known here. */
  revoke(key: string, grant: string): boolean {
    this.#revoked.set(grant, true);
    const lease = this.#leases.get(key);
    if (lease?.grant === grant) this.#lose(lease);
    return true;
  }

  /** Leases that run, for status. */
  get leases(): number {
    return this.#leases.size;
  }

  /** Ends all leases, and tells the keepers. Resolves when they know, or cannot be reached. */
  async stop(): Promise<void> {
    const leases = [...this.#leases.values()];
    for (const lease of leases) lease.left();
    await Promise.all([...leases.map(({ key }) => this.#outbox.said(key)), this.#outbox.flush([])]);
    this.#stopped = true;
    this.#cancelTick?.();
    this.#outbox.stop();
  }

  #claimOf(request: ClaimRequest, waitMs: number, yields: boolean): Claim {
    const { roster, rates } = this.#options;
    const registryRate = rates.registry(request.registry);
    return {
      type: 'claim',
      key: request.key,
      incarnation: roster.self.incarnation,
      source: request.source,
      ...(request.sizeBytes === undefined ? {} : { sizeBytes: request.sizeBytes }),
      prefix: request.prefix,
      failed: request.failed.slice(-64),
      inline: request.inline,
      waitMs,
      ...(request.maxAgeMs === undefined ? {} : { maxAgeMs: Math.min(MAX_DURATION_MS, request.maxAgeMs) }),
      ...(request.alone === true ? { alone: true } : {}),
      zone: roster.self.zone,
      ...this.#ofThisAgent(),
      ...(registryRate !== undefined && registryRate > 0 ? { registryRate } : {}),
      ...(yields ? { yields } : {}),
      ...(request.resumes === true ? { resumes: true } : {}),
    };
  }

  /** What claims and renewals say alike. */
  #ofThisAgent(): AgentFacts {
    const { rates, uplink, isStrained } = this.#options;
    const rate = uplink();
    // What others said too: so that all keepers hear of it.
    const { carries } = rates;
    return {
      ...(rate !== undefined && rate > 0 ? { uplink: rate } : {}),
      ...(carries === undefined ? {} : { carries }),
      ...(isStrained() ? { strained: true } : {}),
    };
  }

  /** @returns undefined where it is to be asked again. */
  #claimed(request: ClaimRequest, answer: Exclude<ClaimAnswer, { kind: 'wait' }>): Claimed | undefined {
    const { roster, rates } = this.#options;
    if (answer.kind === 'write' || answer.kind === 'read') rates.noteCarries(answer.carries);
    switch (answer.kind) {
      case 'write':
        if (this.#revoked.has(answer.grant)) {
          // By a deputy, while this keeper was silent: it would be told to write until that lease is over.
          this.#outbox.send({
            key: request.key,
            incarnation: roster.self.incarnation,
            source: request.source,
            grant: answer.grant,
            state: 'left',
          });
          return undefined;
        }
        return { kind: 'write', lease: this.#lease(request, answer.grant) };
      case 'read': {
        const parents = answer.parents.filter(({ peerId }) => peerId !== roster.self.peerId);
        return { kind: 'read', parents, sizeBytes: answer.sizeBytes, replaces: answer.replaces };
      }
      case 'bytes':
        return { kind: 'bytes', bytes: Buffer.from(answer.bytes, 'base64'), ageMs: answer.ageMs };
      case 'failed': {
        const { stale, upstreamStatus, retryAfterMs } = answer;
        const error = new WindlassError(codeOf(answer.code), answer.message, {
          ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        });
        return {
          kind: 'failed',
          error,
          stale: stale === undefined ? undefined : { bytes: Buffer.from(stale.bytes, 'base64'), ageMs: stale.ageMs },
        };
      }
    }
  }

  #lease(request: ClaimRequest, id: string): Lease {
    const before = this.#leases.get(request.key);
    if (before !== undefined && !before.isOver) return before.source === request.source ? before : borrowed(before);
    const { key, source, registry, prefix } = request;
    const isLarge = Turns.isLarge(request);
    const lease = new HeldLease({ id, key, source, registry, prefix, isLarge }, this.#options.timers, (ending) => {
      this.#drop(lease);
      const { incarnation } = this.#options.roster.self;
      this.#outbox.send({ key, incarnation, source, grant: id, ...ending });
    });
    this.#leases.set(key, lease);
    this.#tickLater();
    return lease;
  }

  #lose(lease: HeldLease): void {
    this.#drop(lease);
    lease.lose();
  }

  #drop(lease: HeldLease): void {
    if (this.#leases.get(lease.key) === lease) this.#leases.delete(lease.key);
  }

  #later(report: Report): void {
    this.#outbox.add(report);
    this.#tickLater();
  }

  /** Each second while there is anything to say. */
  #tickLater(): void {
    if (this.#stopped) return;
    this.#cancelTick ??= this.#options.timers.after(RENEW_MS, () => {
      this.#cancelTick = undefined;
      void this.#renew();
      if (this.#leases.size > 0) this.#tickLater();
    });
  }

  async #renew(): Promise<void> {
    const { roster, rates, timers } = this.#options;
    const ofThisAgent = this.#ofThisAgent();
    const leases = [...this.#leases.values()].filter((lease) => !lease.renewing);
    const renewals = leases.map((lease) => {
      lease.renewing = true;
      const report = lease.renewal(roster.self.incarnation, ofThisAgent);
      rates.noteWriter(lease.registry, lease.grant, report.rate ?? 0, timers.now());
      return report;
    });
    const byGrant = new Map(leases.map((lease) => [lease.grant, lease]));
    // As each is answered: a keeper that is silent is not to cost the leases that others keep.
    await this.#outbox.flush(renewals, (grant, answer) => {
      const lease = byGrant.get(grant);
      if (lease === undefined) return;
      lease.renewing = false;
      if (answer === 'lost') this.#lose(lease);
    });
  }
}

/** Who uses another one's right has it for as long as that one. */
function borrowed({ over }: HeldLease): Lease {
  return { lost: over, progress() {}, sent() {}, failed() {}, left() {} };
}

/** Another version may have codes that this one has not. */
function codeOf(code: string): ErrorCode {
  return code in ERROR_TABLE ? (code as ErrorCode) : 'UPSTREAM_UNAVAILABLE';
}
