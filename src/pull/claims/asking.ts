import type { Logger } from 'pino';
import { hasCode } from '../../errors.ts';
import type { PeerId } from '../../routing/member.ts';
import { KEEPERS, type Roster } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import type { Keeper } from './keeper.ts';
import type { KeeperCalls } from './keeper-calls.ts';
import { isKeeper } from './keepers-of.ts';
import { makesSense } from './makes-sense.ts';
import { type Claim, type ClaimAnswer, claimAnswerSchema, FORWARD_MS } from './messages.ts';

/**
 * Of asking the keepers, the held time included: all three may be silent. Then it takes some 3 s at most to ask one behind
 * them; and then this agent grants itself the right.
 */
const ASKING_MS = 10_000;

export interface AskingOptions {
  readonly roster: Roster;
  readonly calls: KeeperCalls;
  readonly keeper: Keeper;
  readonly timers: Timers;
  readonly logger: Logger;
}

export interface AskOptions {
  /** Else nobody else is believed any more. */
  readonly patient: boolean;
  readonly signal: AbortSignal;
  readonly onSilence?: ((ms: number) => void) | undefined;
}

/** Brings a claim to whoever is to answer it. */
export class Asking {
  readonly #options: AskingOptions;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /**
   * The keeper; the deputies; whoever is nearest behind them and answers; oneself.
   * @param onSilence told, for each that did not answer, how long that took (ms).
   */
  async ask(
    claim: Claim,
    { patient, signal, onSilence }: AskOptions,
  ): Promise<{ readonly answer: ClaimAnswer; readonly by: 'keeper' | 'self' }> {
    const { roster, calls, keeper, timers } = this.#options;
    const { peerId } = roster.self;
    if (patient && isKeeper(roster, claim.key, peerId)) {
      return { answer: await keeper.claim(peerId, claim, signal), by: 'keeper' };
    }
    const [nearest] = roster.keepers(claim.key, 1);
    if (!patient && nearest !== undefined) calls.blame(nearest.peerId, 'it says for ever that somebody writes');
    const untilMs = timers.now() + ASKING_MS;
    let waitMs = claim.waitMs;
    const asked = new Set<PeerId>();
    for (;;) {
      // Anew each time: who was silent may be known to be dead by now, and others keep the key.
      const member = patient ? roster.keepers(claim.key).find(({ peerId: id }) => !asked.has(id)) : undefined;
      if (member === undefined) break;
      if (member.peerId === peerId)
        return { answer: await keeper.claim(peerId, { ...claim, waitMs }, signal), by: 'self' };
      asked.add(member.peerId);
      if (calls.isLeftOut(member.peerId)) continue;
      const forwardMs = isKeeper(roster, claim.key, member.peerId) ? 0 : FORWARD_MS;
      const leftMs = untilMs - timers.now() - calls.boundMs - forwardMs;
      if (leftMs <= 0) break;
      waitMs = Math.min(waitMs, leftMs);
      const askedMs = timers.now();
      try {
        const answer = await calls.ask(member, { ...claim, waitMs }, claimAnswerSchema, {
          signal,
          heldMs: waitMs + forwardMs,
        });
        if (makesSense(claim, peerId, answer)) {
          // One that came a moment ago may not be known here yet.
          const known = answer.kind !== 'read' || answer.parents.some(({ peerId: id }) => roster.get(id) !== undefined);
          if (!known) calls.doubt(member.peerId, `${member.nodeName} names strangers as parents`);
          return { answer, by: 'keeper' };
        }
        calls.blame(member.peerId, `${member.nodeName} answers a claim with what cannot be`);
      } catch (error) {
        signal.throwIfAborted();
        if (!hasCode(error, 'PEER_GONE', 'PEER_SILENT', 'PEER_DENIED', 'PEER_BUSY', 'PEER_NONSENSE')) throw error;
        this.#options.logger.debug({ key: claim.key, keeper: member.peerId, err: error }, 'keeper did not answer');
        onSilence?.(timers.now() - askedMs);
      }
      // Time was lost already: whoever is asked next answers at once.
      waitMs = 0;
    }
    if (asked.size >= KEEPERS) {
      const answer = await this.#askBeyond({ ...claim, waitMs: 0 }, signal);
      if (answer !== undefined) return { answer, by: 'keeper' };
    }
    return { answer: await keeper.claim(peerId, { ...claim, waitMs }, signal), by: 'self' };
  }

  async #askBeyond(claim: Claim, signal: AbortSignal): Promise<ClaimAnswer | undefined> {
    const { calls, roster } = this.#options;
    const member = await calls.nearestBeyond(claim.key, signal);
    if (member === undefined) return undefined;
    try {
      const answer = await calls.ask(member, claim, claimAnswerSchema, { signal, heldMs: FORWARD_MS });
      return makesSense(claim, roster.self.peerId, answer) ? answer : undefined;
    } catch (error) {
      signal.throwIfAborted();
      this.#options.logger.debug(
        { key: claim.key, peer: member.peerId, err: error },
        'nor did the nearest behind them',
      );
      return undefined;
    }
  }
}
