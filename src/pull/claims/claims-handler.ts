import type { Logger } from 'pino';
import { hasCode, NotAsked, WindlassError } from '../../errors.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { Member, PeerId } from '../../routing/member.ts';
import type { Roster } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import type { Keeper } from './keeper.ts';
import type { KeeperCalls } from './keeper-calls.ts';
import { isKeeper, maySpeakFor } from './keepers-of.ts';
import { LeftOut } from './left-out.ts';
import { makesSense } from './makes-sense.ts';
import {
  type Claim,
  type ClaimAnswer,
  type ClaimsRequest,
  type Copy,
  claimAnswerSchema,
  claimsRequestSchema,
  FORWARD_MS,
  type Report,
  type ReportAnswers,
  reportAnswersSchema,
} from './messages.ts';

/** A clock may begin below 0. */
const LONG_AGO = Number.NEGATIVE_INFINITY;

/** A keeper found gone is not called for each of a thousand claims. */
const GONE_MS = 2_000;
/** One message that is not understood may be another version's; some are a fault, or meant so. */
const STRIKES = 3;

export interface ClaimsHandlerOptions {
  readonly roster: Roster;
  readonly calls: KeeperCalls;
  readonly keeper: Keeper;
  readonly timers: Timers;
  readonly revoke: (key: string, grant: string) => boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * What other agents say over path `claims`.
 *
 * ```
 *   claim, reports ── keeper here? ── yes, or forwarded to us ──▶ this agent's Keeper
 *                          └─ no ──▶ forwarded to who is ── gone, silent ──▶ this agent's Keeper, as deputy
 * ```
 * What is forwarded is never forwarded again.
 */
export class ClaimsHandler {
  readonly #options: ClaimsHandlerOptions;
  readonly #leftOut: LeftOut;
  readonly #goneUntilMs = new Map<PeerId, number>();

  constructor(options: ClaimsHandlerOptions) {
    this.#options = options;
    this.#leftOut = new LeftOut(options.timers, STRIKES);
  }

  /** Whose claims are not answered now: they made no sense, again and again. */
  leftOut(): PeerId[] {
    return this.#leftOut.list();
  }

  /** The CallHandler for path `claims`. @throws PEER_NONSENSE, PEER_DENIED; the signal's reason. */
  async handle(from: PeerId, body: unknown, signal: AbortSignal): Promise<unknown> {
    if (this.#leftOut.has(from)) throw new WindlassError('PEER_DENIED', 'what you said made no sense: later again');
    const parsed = claimsRequestSchema.safeParse(body);
    if (!parsed.success) return this.#refuse(from, parsed.error);
    return this.#answer(from, parsed.data, signal);
  }

  async #answer(from: PeerId, request: ClaimsRequest, signal: AbortSignal): Promise<unknown> {
    const { roster, keeper, revoke } = this.#options;
    switch (request.type) {
      case 'claim':
        return this.#claim(from, request, signal);
      case 'reports':
        return this.#reports(from, request.reports, request.onBehalfOf, signal);
      case 'copies':
        this.#copies(from, request.copies);
        return {};
      case 'recall':
        this.#checkSpeaker(from, request.key);
        return keeper.recall(request.key);
      case 'revoke':
        this.#checkSpeaker(from, request.key);
        return { revoked: revoke(request.key, request.grant) };
      default:
        request satisfies never;
        throw new WindlassError('PEER_NONSENSE', `${roster.self.nodeName} does not know such a request`);
    }
  }

  async #claim(from: PeerId, claim: Claim, signal: AbortSignal): Promise<ClaimAnswer> {
    const { keeper } = this.#options;
    if (claim.onBehalfOf !== undefined) {
      this.#checkSpeaker(from, claim.key);
      return keeper.claim(claim.onBehalfOf, claim, signal);
    }
    const to = this.#nearer(claim.key, from);
    if (to === undefined) return keeper.claim(from, claim, signal);
    const forwarded = { ...claim, onBehalfOf: from };
    const answer = await this.#forward(to, async (calls) => {
      const given = await calls.ask(to, forwarded, claimAnswerSchema, {
        signal,
        heldMs: claim.waitMs,
        mostMs: claim.waitMs + FORWARD_MS,
      });
      if (makesSense(claim, from, given)) return given;
      calls.blame(to.peerId, `${to.nodeName} answers a forwarded claim with what cannot be`);
      return undefined;
    });
    return answer ?? keeper.claim(from, { ...claim, waitMs: 0 }, signal);
  }

  async #reports(
    from: PeerId,
    reports: readonly Report[],
    onBehalfOf: PeerId | undefined,
    signal: AbortSignal,
  ): Promise<ReportAnswers> {
    const { keeper } = this.#options;
    if (onBehalfOf !== undefined) {
      for (const { key } of reports) this.#checkSpeaker(from, key);
      return { answers: keeper.report(onBehalfOf, reports) };
    }
    const answers: ('ok' | 'lost')[] = reports.map(() => 'ok');
    const groups = new Map<Member | undefined, number[]>();
    for (const [i, { key }] of reports.entries()) {
      const to = this.#nearer(key, from);
      groups.set(to, [...(groups.get(to) ?? []), i]);
    }
    await Promise.all(
      [...groups].map(async ([to, indexes]) => {
        const some = indexes.flatMap((i) => reports[i] ?? []);
        const body = { type: 'reports' as const, reports: some, onBehalfOf: from };
        const answer =
          to === undefined
            ? undefined
            : await this.#forward(to, (calls) =>
                calls.ask(to, body, reportAnswersSchema, { signal, mostMs: FORWARD_MS }),
              );
        const given = answer?.answers ?? keeper.report(from, some);
        for (const [j, i] of indexes.entries()) answers[i] = given[j] ?? 'ok';
      }),
    );
    return { answers };
  }

  #copies(from: PeerId, copies: readonly Copy[]): void {
    const { roster, keeper } = this.#options;
    const its = copies.filter(({ key }) => maySpeakFor(roster, key, from));
    keeper.copied(its, (key) => isKeeper(roster, key, from));
  }

  /** The key's keeper, by our view, unless that is this agent, who asks, or known to be gone. */
  #nearer(key: string, from: PeerId): Member | undefined {
    const { roster, calls, timers } = this.#options;
    const [keeper] = roster.keepers(key, 1);
    if (keeper === undefined || keeper.peerId === roster.self.peerId || keeper.peerId === from) return undefined;
    if ((this.#goneUntilMs.get(keeper.peerId) ?? LONG_AGO) > timers.now() || calls.isLeftOut(keeper.peerId))
      return undefined;
    return keeper;
  }

  /** @returns undefined where nobody answers there. */
  async #forward<T>(to: Member, ask: (calls: KeeperCalls) => Promise<T | undefined>): Promise<T | undefined> {
    const { calls, timers } = this.#options;
    try {
      return await ask(calls);
    } catch (error) {
      if (!hasCode(error, 'PEER_GONE', 'PEER_SILENT', 'PEER_DENIED', 'PEER_BUSY', 'PEER_NONSENSE')) throw error;
      const nowMs = timers.now();
      for (const [peerId, untilMs] of this.#goneUntilMs) if (untilMs <= nowMs) this.#goneUntilMs.delete(peerId);
      // For want of something here: the next one may be asked.
      if (!(error instanceof NotAsked)) this.#goneUntilMs.set(to.peerId, nowMs + GONE_MS);
      return undefined;
    }
  }

  #checkSpeaker(from: PeerId, key: string): void {
    if (maySpeakFor(this.#options.roster, key, from)) return;
    throw new WindlassError('PEER_DENIED', 'only a keeper or deputy of that key may say so');
  }

  #refuse(from: PeerId, error: unknown): never {
    this.#leftOut.add(from);
    this.#options.metrics.peerRefused.inc({ plane: 'data', reason: 'nonsense' });
    this.#options.logger.warn({ peer: from, err: error }, 'peer sends claims that make no sense');
    throw new WindlassError('PEER_NONSENSE', 'that is no request about claims', { cause: error });
  }
}
