import type { WindlassError } from '../../src/errors.ts';
import type { Claimed, ClaimRequest, Lease } from '../../src/pull/claims/claims.ts';
import type { FailedPeer } from '../../src/pull/claims/messages.ts';
import { type ClaimsNetwork, nameOf, peerIdOf, type SimAgent } from './claims-network.ts';

const TICK_MS = 100;
const SILENT_MS = 2_000;
/** A reader that got nothing for so long, though its parent says that it waits, asks its keeper again. */
const ASK_AGAIN_MS = 10_000;
/** Lost to silent parents and keepers since bytes, or the right, last came; then upstream is asked without leave, as SwarmSource does. */
const BUDGET_MS = 6_000;

export interface PullsOptions {
  readonly key: string;
  readonly sizeBytes: number;
  /** Bytes a second, of upstream to each writer, and between two nodes. */
  readonly upstreamRate: number;
  readonly linkRate: number;
  readonly firstByteMs?: number;
}

/** One node's pull of the blob: what SwarmSource does, with bytes that are only counted. */
export interface SimPull {
  readonly agent: SimAgent;
  prefix: number;
  state: 'claiming' | 'writing' | 'reading' | 'done' | 'failed';
  parent: string | undefined;
  lease: Lease | undefined;
  startedMs: number;
  quietMs: number;
  doneAtMs: number | undefined;
  readonly failed: FailedPeer[];
  /** Bytes to all children since the pull began. */
  sent: number;
  source: string;
  lostMs: number;
  /** The keeper was told that all was lost, once since bytes last came. */
  toldLost: boolean;
  /** Writes without leave. */
  alone: boolean;
  /** A claim of it was answered. */
  answered: boolean;
}

/** Pulls of one blob on many nodes: readers get on while their chain of parents is alive. */
export class SimulatedPulls {
  readonly pulls = new Map<string, SimPull>();
  readonly #network: ClaimsNetwork;
  readonly #options: PullsOptions;
  upstreamBytes = 0;
  /** Upstream requests that were begun. */
  requests = 0;
  /** Upstream's writers get nothing: their sockets are frozen. */
  readonly frozen = new Set<string>();
  /** Bytes a second to each child, of those whose uplink is no other node's. */
  readonly thin = new Map<string, number>();
  /** What upstream says to a source instead of bytes. */
  readonly refused = new Map<string, WindlassError>();
  readonly errors: { readonly name: string; readonly error: unknown }[] = [];
  /** Called after each tick. */
  onTick: () => void = () => {};

  constructor(network: ClaimsNetwork, options: PullsOptions) {
    this.#network = network;
    this.#options = options;
    this.#tickLater();
  }

  start(name: string, prefix = 0, source = 'docker.io/library/redis'): SimPull {
    const agent = this.#network.get(name);
    const pull: SimPull = {
      agent,
      prefix,
      state: 'claiming',
      parent: undefined,
      lease: undefined,
      startedMs: 0,
      quietMs: 0,
      doneAtMs: undefined,
      failed: [],
      sent: 0,
      source,
      lostMs: 0,
      toldLost: false,
      alone: false,
      answered: false,
    };
    this.pulls.set(name, pull);
    this.#claim(pull);
    return pull;
  }

  /** Of those whose agent lives. */
  living(): SimPull[] {
    return [...this.pulls.values()].filter(
      ({ agent }) => agent.alive && this.#network.agents.get(agent.name) === agent,
    );
  }

  writers(): SimPull[] {
    return this.living().filter(({ state, lease }) => state === 'writing' && !lease?.lost.aborted);
  }

  allDone(): boolean {
    return this.living().every(({ state }) => state === 'done');
  }

  /** The connection to its parent breaks, though that is alive. */
  breakEdge(name: string): void {
    const pull = this.pulls.get(name);
    if (pull?.state === 'reading' && pull.agent.alive) this.#leave(pull, 'broken');
  }

  complain(name: string, why: FailedPeer['why']): void {
    const pull = this.pulls.get(name);
    if (pull?.state === 'reading' && pull.agent.alive) this.#leave(pull, why);
  }

  /** All that read from it. */
  readersOf(name: string): string[] {
    const reading = this.living().filter(({ state, parent }) => state === 'reading' && parent === name);
    return reading.map(({ agent }) => agent.name);
  }

  #tickLater(): void {
    this.#network.queue.after(TICK_MS, () => {
      this.#tick();
      this.onTick();
      this.#tickLater();
    });
  }

  #tick(): void {
    for (const pull of this.living()) {
      if (this.#network.isSuspended(pull.agent)) continue;
      if (pull.state === 'writing') this.#write(pull);
      else if (pull.state === 'reading') this.#read(pull);
    }
  }

  #write(pull: SimPull): void {
    const { upstreamRate, firstByteMs = 0 } = this.#options;
    const { lease } = pull;
    if (!pull.alone && (lease === undefined || lease.lost.aborted)) {
      this.#claim(pull);
      return;
    }
    if (this.frozen.has(pull.agent.name) || this.#network.queue.now() - pull.startedMs < firstByteMs) return;
    const refused = this.refused.get(pull.source);
    if (refused !== undefined) {
      lease?.failed(refused);
      this.#claim(pull);
      return;
    }
    const bytes = Math.min(this.#options.sizeBytes - pull.prefix, (upstreamRate * TICK_MS) / 1000);
    this.upstreamBytes += bytes;
    pull.prefix += bytes;
    pull.lostMs = 0;
    lease?.progress('writing', Math.floor(pull.prefix));
    this.#endIfWhole(pull);
  }

  #read(pull: SimPull): void {
    const parent = this.#network.agents.get(pull.parent ?? '');
    const its = this.pulls.get(pull.parent ?? '');
    if (parent === undefined || !parent.alive) {
      this.#leave(pull, 'broken');
      return;
    }
    const hears = this.#network.reaches(parent.name, pull.agent.name) && !this.#network.isSuspended(parent);
    if (!hears) {
      pull.quietMs += TICK_MS;
      if (pull.quietMs >= SILENT_MS) this.#leave(pull, 'silent');
      return;
    }
    // It runs under another incarnation, and began anew.
    if (its === undefined || its.agent !== parent) {
      this.#leave(pull, 'missing');
      return;
    }
    if (its.state === 'failed') {
      this.#leave(pull, 'failed');
      return;
    }
    if (this.#isAbove(pull, its)) {
      this.#leave(pull, 'cycle');
      return;
    }
    const linkRate = this.thin.get(parent.name) ?? this.#options.linkRate;
    const bytes = Math.min(its.prefix - pull.prefix, (linkRate * TICK_MS) / 1000);
    if (bytes > 0) {
      pull.prefix += bytes;
      its.sent += bytes;
      its.lease?.sent(bytes);
      pull.quietMs = 0;
      pull.lostMs = 0;
      this.#endIfWhole(pull);
      return;
    }
    pull.quietMs += TICK_MS;
    if (pull.quietMs >= ASK_AGAIN_MS) this.#claim(pull);
  }

  /** The path that streams carry. */
  #isAbove(pull: SimPull, other: SimPull): boolean {
    let above: SimPull | undefined = other;
    for (let hops = 0; above !== undefined && above.state === 'reading' && hops < 10_000; hops += 1) {
      if (above === pull) return true;
      above = this.pulls.get(above.parent ?? '');
    }
    return above === pull;
  }

  #leave(pull: SimPull, why: FailedPeer['why']): void {
    if (why === 'silent') pull.lostMs += SILENT_MS;
    if (pull.parent !== undefined) {
      const peerId = peerIdOf(pull.parent);
      const before = pull.failed.findIndex((one) => one.peerId === peerId);
      if (before >= 0) pull.failed.splice(before, 1);
      pull.failed.push({ peerId, why });
    }
    this.#claim(pull);
  }

  #endIfWhole(pull: SimPull): void {
    if (pull.prefix < this.#options.sizeBytes) return;
    pull.state = 'done';
    pull.doneAtMs = this.#network.queue.now();
    pull.agent.parts.claimer.held(this.#options.key, pull.source, { sizeBytes: this.#options.sizeBytes });
  }

  #claim(pull: SimPull): void {
    pull.state = 'claiming';
    pull.quietMs = 0;
    const { key, sizeBytes } = this.#options;
    const lost = pull.lostMs >= BUDGET_MS;
    if (lost && pull.toldLost) {
      pull.alone = true;
      pull.state = 'writing';
      this.requests += 1;
      return;
    }
    pull.toldLost = lost;
    const request: ClaimRequest = {
      key,
      source: pull.source,
      registry: 'docker.io',
      sizeBytes,
      prefix: Math.floor(pull.prefix),
      failed: [...pull.failed],
      inline: false,
      alone: lost,
      resumes: pull.prefix > 0 && !pull.answered,
      onSilence: (ms) => {
        pull.lostMs += ms;
      },
    };
    pull.agent.parts.claimer.claim(request, new AbortController().signal).then(
      (claimed) => this.#take(pull, claimed),
      (error) => this.errors.push({ name: pull.agent.name, error }),
    );
  }

  /** Its parent tells the one whose seat it took, once it has opened its stream. */
  #moveAway({ agent, parent }: SimPull, replaces: string | undefined): void {
    if (replaces === undefined) return;
    const moved = this.pulls.get(nameOf(replaces));
    const reaches =
      parent !== undefined && this.#network.reaches(agent.name, parent) && this.#network.get(parent).alive;
    if (reaches && moved?.state === 'reading' && moved.parent === parent && moved.agent.alive) this.#claim(moved);
  }

  #take(pull: SimPull, claimed: Claimed): void {
    if (!pull.agent.alive) return;
    pull.answered = true;
    switch (claimed.kind) {
      case 'write':
        pull.state = 'writing';
        if (pull.lease !== claimed.lease) {
          pull.startedMs = this.#network.queue.now();
          this.requests += 1;
        }
        pull.lease = claimed.lease;
        pull.lostMs = 0;
        break;
      case 'read':
        pull.state = 'reading';
        pull.parent = nameOf(claimed.parents[0]?.peerId ?? '');
        this.#moveAway(pull, claimed.replaces);
        break;
      default: {
        const error = claimed.kind === 'failed' ? claimed.error : new Error('bytes');
        this.errors.push({ name: pull.agent.name, error });
        pull.state = 'failed';
        // As a client would.
        this.#network.queue.after(1_000, () => this.#claim(pull));
      }
    }
  }
}
