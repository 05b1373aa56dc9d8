import type { Logger } from 'pino';
import { z } from 'zod';
import { hasCode, WindlassError } from '../../errors.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { Member, PeerId } from '../../routing/member.ts';
import type { PeerCalls } from '../../routing/peer-calls.ts';
import type { Roster } from '../../routing/roster.ts';
import { RecentBound } from '../../time/recent-bound.ts';
import type { Timers } from '../../time/timers.ts';
import { BoundedMap } from './bounded-map.ts';
import { MAY_SPEAK } from './keepers-of.ts';
import { LeftOut } from './left-out.ts';
import type { ClaimsRequest } from './messages.ts';

const MOST_MS = 2_000;
/** Once may happen to any agent; who is silent, or names strangers, so often is named, or left out. */
const STRIKES = 3;
const BEYOND_MS = 500;
/** What one is found to do is believed so long, for all keys: a thousand reports ask it once. */
const FOUND_MS = 500;
/** Until then it has either answered something or is known to be dead. */
const SILENT_AGAIN_MS = 5_000;

export interface KeeperCallsOptions {
  readonly roster: Roster;
  readonly calls: PeerCalls;
  readonly timers: Timers;
  /** The most that a call may take, in ms. */
  readonly timeoutMs?: number | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Calls of path `claims` to other agents: bounded by what was measured, answers checked, failures told to the roster. */
export class KeeperCalls {
  readonly #options: KeeperCallsOptions;
  readonly #bound: RecentBound;
  readonly #leftOut: LeftOut;
  readonly #silences = new BoundedMap<PeerId, number>(10_000);
  readonly #doubts: LeftOut;
  /** Until when others are asked beside it. */
  readonly #silentUntilMs = new BoundedMap<PeerId, number>(10_000);
  /** Who was asked whether it answers anything, and when. */
  readonly #looks = new BoundedMap<PeerId, { readonly atMs: number; readonly answers: Promise<boolean> }>(1_000);

  constructor(options: KeeperCallsOptions) {
    this.#options = options;
    this.#bound = new RecentBound(options.timeoutMs ?? MOST_MS);
    this.#leftOut = new LeftOut(options.timers);
    this.#doubts = new LeftOut(options.timers, STRIKES);
  }

  /** Its answers made no sense lately: ask another. */
  isLeftOut(peerId: string): boolean {
    return this.#leftOut.has(peerId);
  }

  /** All of those. */
  leftOut(): PeerId[] {
    return this.#leftOut.list();
  }

  /** It let us wait in vain a moment ago, and has not answered since. */
  wasSilent(peerId: PeerId): boolean {
    const untilMs = this.#silentUntilMs.get(peerId);
    return untilMs !== undefined && untilMs > this.#options.timers.now();
  }

  get boundMs(): number {
    return this.#bound.ms;
  }

  /**
   * @param options.heldMs the answer may be held back so long on purpose.
   * @param options.mostMs however long the calls before took.
   * @param options.hurryMs no more than this; being silent for so short a time says nothing of the peer.
   * @throws PEER_GONE, PEER_SILENT, PEER_DENIED, PEER_BUSY, PEER_NONSENSE; the signal's reason.
   */
  async ask<T>(
    to: Member,
    body: ClaimsRequest,
    schema: z.ZodType<T>,
    options: {
      readonly signal: AbortSignal;
      readonly heldMs?: number;
      readonly mostMs?: number;
      readonly hurryMs?: number;
    },
  ): Promise<T> {
    const { roster, calls, timers } = this.#options;
    const { heldMs = 0, mostMs = Number.POSITIVE_INFINITY, hurryMs, signal } = options;
    const timeoutMs = hurryMs ?? Math.min(mostMs, this.#bound.ms + heldMs);
    const startMs = timers.now();
    try {
      const answer = await calls.call(to, 'claims', body, { signal, timeoutMs, held: heldMs > 0 });
      if (heldMs === 0) this.#bound.note(timers.now() - startMs);
      roster.heard(to.peerId);
      this.#silences.delete(to.peerId);
      this.#silentUntilMs.delete(to.peerId);
      return this.#check(to, answer, schema);
    } catch (error) {
      signal.throwIfAborted();
      if (hasCode(error, 'PEER_GONE')) roster.suspect(to.peerId, 'gone');
      else if (hasCode(error, 'PEER_SILENT') && hurryMs === undefined) {
        this.#bound.note(timeoutMs - heldMs);
        roster.suspect(to.peerId, 'silent');
        this.#silentUntilMs.set(to.peerId, timers.now() + SILENT_AGAIN_MS);
        this.#noteSilence(to.peerId, error);
      } else if (hasCode(error, 'PEER_NONSENSE')) this.#blame(to.peerId, error);
      throw error instanceof WindlassError
        ? error
        : new WindlassError('PEER_GONE', `the call to ${to.nodeName} failed`, { cause: error });
    }
  }

  /**
   * Where none of a key's keepers answers, as on the far side of a partition before news of it have come: the nearest
   * one behind them that does, so that all on this side ask the same. Half a second, and a few small calls.
   * @returns undefined where that is this agent itself, or nobody answers.
   */
  async nearestBeyond(key: string, signal: AbortSignal): Promise<Member | undefined> {
    const { roster } = this.#options;
    const near = roster.keepers(key, MAY_SPEAK);
    const own = near.findIndex(({ peerId }) => peerId === roster.self.peerId);
    const looks = near
      .slice(0, own < 0 ? near.length : own)
      .filter(({ peerId }) => !this.wasSilent(peerId) && !this.isLeftOut(peerId))
      .map((member) => ({ member, answers: this.#look(member, key) }));
    for (const { member, answers } of looks) {
      const does = await answers;
      signal.throwIfAborted();
      if (does) return member;
    }
    return undefined;
  }

  /** Does it answer? Never rejects. */
  #look(member: Member, key: string): Promise<boolean> {
    const nowMs = this.#options.timers.now();
    const before = this.#looks.get(member.peerId);
    if (before !== undefined && nowMs - before.atMs < FOUND_MS) return before.answers;
    // Shared by all who want to know: it ends by its own bound.
    const options = { signal: new AbortController().signal, hurryMs: BEYOND_MS };
    const answers = this.ask(member, { type: 'recall', key }, z.unknown(), options).then(
      () => true,
      // That it may not tell us is as good an answer as any.
      (error) => hasCode(error, 'PEER_DENIED'),
    );
    this.#looks.set(member.peerId, { atMs: nowMs, answers });
    return answers;
  }

  #check<T>(from: Member, answer: unknown, schema: z.ZodType<T>): T {
    const checked = schema.safeParse(answer);
    if (checked.success) return checked.data;
    throw new WindlassError('PEER_NONSENSE', `${from.nodeName} answered a claim with nonsense`, {
      cause: checked.error,
    });
  }

  /** Its answer made no sense: others are asked for a while. */
  #blame(peerId: string, error: unknown): void {
    this.#leftOut.add(peerId);
    this.#options.metrics.peerRefused.inc({ plane: 'data', reason: 'nonsense' });
    this.#options.logger.warn({ peer: peerId, err: error }, 'peer answers claims with nonsense: left out for a while');
  }

  /** What it said was well formed, and still cannot be. */
  blame(peerId: string, message: string): void {
    this.#blame(peerId, new WindlassError('PEER_NONSENSE', message));
  }

  /** It may be so for a moment, and not for long. */
  doubt(peerId: string, message: string): void {
    this.#doubts.add(peerId);
    if (this.#doubts.has(peerId) && !this.isLeftOut(peerId)) this.blame(peerId, message);
  }

  #noteSilence(peerId: PeerId, err: unknown): void {
    const count = (this.#silences.get(peerId) ?? 0) + 1;
    this.#silences.set(peerId, count);
    if (count < STRIKES) return;
    this.#silences.delete(peerId);
    this.#options.metrics.peerBlamed.inc({ reason: 'silent' });
    this.#options.logger.warn({ peer: peerId, reason: 'silent', err }, 'peer answers no claims');
  }
}
