import type { Logger } from 'pino';
import type { Timers } from '../../time/timers.ts';
import type { PeerId } from '../member.ts';
import { type Candidate, Candidates } from './candidates.ts';
import type { DialNote } from './door.ts';

/** Dialled by this agent, and in all, from which on it looks for no more. */
const WANTED_OUTGOING = 12;
const WANTED_IN_ALL = 20;
/** Above so many there are no visits either. */
const VISIT_BELOW = 28;
/** At once, while they succeed; one failure, and it is one: a crowd that starts together must not keep itself busy. */
const MOST_PARALLEL = 4;
const START_MS = 500;
const TICK_MS = 250;
const IDLE_TICK_MS = 1_000;
const VISIT_MS = 45_000;
const DIAL_MS = 10_000;
const SELF_REST_MS = 600_000;
const STRANGER_REST_MS = 60_000;
const REFUSED_REST_MS = 10_000;
const WARN_EVERY_MS = 30_000;
const BUSY_REST_MS = 20_000;

export interface DialLoopOptions {
  readonly self: PeerId;
  /** Connects to one of the addresses, all of one peer. Rejects with the reason. */
  readonly dial: (addresses: readonly string[], signal: AbortSignal) => Promise<PeerId>;
  /** What the dial found out, where its error does not say it. */
  readonly takeNote: (address: string) => DialNote | undefined;
  readonly isConnected: (peerId: PeerId) => boolean;
  readonly counts: () => { readonly outgoing: number; readonly inAll: number };
  readonly timers: Timers;
  readonly logger: Logger;
  readonly random?: () => number;
}

/**
 * Keeps this agent connected to some members, drawn at random, so that all of them together are one graph:
 *
 *   fewer than 12 dialled and fewer than 20 in all ── dial any candidate that has rested
 *   enough ── a visit to somebody now and then: what a partition left as two satisfied halves finds together again
 *   nobody there ── wait, ask again: candidates change, and rest at most 5 s
 */
export class DialLoop {
  readonly #options: DialLoopOptions;
  readonly #random: () => number;
  readonly #candidates: Candidates;
  readonly #dialing = new Set<Candidate>();
  readonly #stop = new AbortController();
  #cancel: (() => void) | undefined;
  #visitAtMs: number;
  #parallel = 1;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: DialLoopOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#candidates = new Candidates({ random: this.#random });
    this.#visitAtMs = options.timers.now() + VISIT_MS * (0.5 + this.#random());
  }

  /** @param addresses multiaddresses, of whomever. */
  setSeeds(addresses: Iterable<string>): void {
    this.#candidates.setSeeds(addresses);
    this.#soon();
  }

  /** Who answered at a seed's address, this agent itself perhaps; undefined while nobody has. */
  ownerOf(address: string): PeerId | undefined {
    return this.#candidates.ownerOf(address);
  }

  setMembers(members: Iterable<{ readonly peerId: PeerId; readonly p2pAddresses: readonly string[] }>): void {
    const { self } = this.#options;
    this.#candidates.setMembers([...members].filter(({ peerId }) => peerId !== self));
    this.#soon();
  }

  start(): void {
    this.#schedule(START_MS * this.#random());
  }

  stop(): void {
    this.#stop.abort(new Error('the dial loop stops'));
    this.#cancel?.();
  }

  /** That peer has no room, or nothing to say to this agent. */
  leaveAlone(peerId: PeerId, ms: number): void {
    this.#candidates.restPeer(peerId, this.#options.timers.now(), ms);
  }

  /** A connection ended. */
  parted(): void {
    const { counts, timers } = this.#options;
    if (counts().inAll === 0) this.#candidates.hurry(timers.now());
    this.#soon();
  }

  #soon(): void {
    if (this.#cancel !== undefined) this.#schedule(TICK_MS * this.#random());
  }

  #schedule(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#cancel?.();
    this.#cancel = this.#options.timers.after(ms, () => {
      this.#tick();
    });
  }

  #tick(): void {
    let dialled = 0;
    while (this.#dialing.size < this.#parallel && this.#wantsMore()) {
      const candidate = this.#pick();
      if (candidate === undefined) break;
      void this.#dial(candidate);
      dialled += 1;
    }
    this.#schedule((dialled > 0 ? TICK_MS : IDLE_TICK_MS) * (0.5 + this.#random()));
  }

  #wantsMore(): boolean {
    const { counts, timers } = this.#options;
    const { outgoing, inAll } = counts();
    const underWay = this.#dialing.size;
    if (outgoing + underWay < WANTED_OUTGOING && inAll + underWay < WANTED_IN_ALL) return true;
    if (timers.now() < this.#visitAtMs) return false;
    this.#visitAtMs = timers.now() + VISIT_MS * (0.5 + this.#random());
    return inAll + underWay < VISIT_BELOW;
  }

  #pick(): Candidate | undefined {
    const { isConnected, timers } = this.#options;
    const dialing = new Set([...this.#dialing].flatMap(({ peerId }) => peerId ?? []));
    return this.#candidates.pick(timers.now(), (candidate) => {
      const { peerId } = candidate;
      return this.#dialing.has(candidate) || (peerId !== undefined && (dialing.has(peerId) || isConnected(peerId)));
    });
  }

  async #dial(candidate: Candidate): Promise<void> {
    const { dial, timers, logger, counts } = this.#options;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(DIAL_MS)]);
    this.#dialing.add(candidate);
    try {
      candidate.peerId = await dial(candidate.addresses, signal);
      candidate.failures = 0;
      this.#parallel = Math.min(MOST_PARALLEL, this.#parallel + 1);
      // If it should be closed upon at once.
      this.#candidates.rest(candidate, timers.now(), BUSY_REST_MS);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const why = error instanceof Error ? error.message : String(error);
      const verdict = this.#noteOf(candidate);
      logger.debug({ addresses: candidate.addresses, why, verdict }, 'dial of another agent failed');
      if (verdict === undefined) this.#parallel = 1;
      if (verdict === undefined) this.#candidates.failed(candidate, timers.now(), counts().inAll === 0);
      else this.#candidates.rest(candidate, timers.now(), REST_MS[verdict]);
    } finally {
      this.#dialing.delete(candidate);
      this.#soon();
    }
  }

  #noteOf(candidate: Candidate): DialNote['verdict'] | undefined {
    for (const address of candidate.addresses) {
      const note = this.#options.takeNote(address);
      if (note === undefined) continue;
      const { verdict, peerId } = note;
      // What a seed's address leads to may change: it is asked again when that one is not connected.
      if (verdict === 'stranger' || verdict === 'refused') this.#warn(address, note);
      else candidate.peerId = peerId;
      return verdict;
    }
    return undefined;
  }

  /** What an operator must see who gave this agent, or that one, the wrong secret. */
  #warn(address: string, { verdict, peerId }: DialNote): void {
    const { timers, logger } = this.#options;
    if (timers.now() - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = timers.now();
    const message =
      verdict === 'stranger'
        ? 'an agent that was dialled does not know the cluster secret'
        : 'an agent that was dialled closed the connection when it had seen our proof: is it the same cluster secret?';
    logger.warn({ address, peer: peerId }, message);
  }
}

const REST_MS: Record<DialNote['verdict'], number> = {
  self: SELF_REST_MS,
  stranger: STRANGER_REST_MS,
  refused: REFUSED_REST_MS,
  busy: BUSY_REST_MS,
  // Taken as long as that one is connected, and free at once when it is gone.
  known: 1_000,
};
