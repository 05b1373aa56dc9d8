import { array, assert, asyncProperty, constantFrom, integer, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Entry } from '../../src/pull/claims/entry.ts';
import { HeldLease } from '../../src/pull/claims/held-lease.ts';
import type { Seat } from '../../src/pull/claims/seat.ts';
import { ClaimsNetwork } from '../support/claims-network.ts';
import { type SimPull, SimulatedPulls } from '../support/simulated-pulls.ts';

const KEY = `blob:sha256:${'a'.repeat(64)}`;
const MIB = 1024 * 1024;
/** So that what is a matter of MiB matters: who is late, who restarts with far more than the writer. */
const SIZE = 100 * MIB;
/** Nothing that went wrong may hold anybody up for longer, once it is over. */
const PATIENCE_MS = 60_000;
/** After a partition: the news, a renewal that was on its way to somebody out of reach, the next renewal. */
const MEETING_MS = 5_000;
/**
 * Who has lost the right writes on until it hears of it: by a message; by its next renewal where that was lost; and where
 * the keeper died as well, its deputy knows of no rival, and may have given the right once more.
 */
const HEARING_MS = 1_500;
/** By these somebody writes on that cannot know that it lost the right, or a keeper forgets to whom it gave it. */
const BLINDING = new Set(['kill', 'restart', 'partition', 'suspend', 'loss', 'cut', 'breaks', 'keeper', 'writer']);
/** Readers in a circle learn of it by their streams; each then asks for another parent. */
const CIRCLE_MS = 1_000;
/** Any seed should do (CLAIMS_SEED=random tries another each time); what is known to pass is what others build on. */
const SEED = 20_261_121;

/** How many upstream requests each fault may cost, at most; complaints cost none. */
const REQUESTS_FOR = {
  heal: 0,
  slow: 0,
  strained: 0,
  // A writer is lost, or left for another one.
  kill: 1,
  keeper: 1,
  writer: 1,
  break: 1,
  freeze: 1,
  thin: 1,
  // A writer on each side; and who is back may have lost its place meanwhile.
  partition: 2,
  // Another one goes on; and with far more than that it writes beside it.
  restart: 2,
  suspend: 2,
  loss: 2,
  cut: 2,
  // Two connections of each node.
  breaks: 4,
} as const;

const fault = record({
  atMs: integer({ min: 0, max: 12_000 }),
  kind: constantFrom(...(Object.keys(REQUESTS_FOR) as (keyof typeof REQUESTS_FOR)[])),
  who: integer({ min: 0, max: 6 }),
  whom: integer({ min: 0, max: 6 }),
});

const scenario = record({
  seed: integer({ min: 0, max: 1_000_000 }),
  nodes: integer({ min: 1, max: 7 }),
  zones: integer({ min: 1, max: 3 }),
  spreadMs: constantFrom(0, 50, 3_000),
  upstreamRate: constantFrom(6, 10, 25),
  /** What a node's uplink carries, as all know: 0 where that is not known, and a chain where it is little. */
  uplink: constantFrom(0, 10, 100),
  firstByteMs: constantFrom(0, 500, 4_000),
  faults: array(fault, { maxLength: 8 }),
});
type Scenario = typeof scenario extends { generate: (...args: never[]) => { value: infer T } } ? T : never;

const quiet = { seed: 0, zones: 1, spreadMs: 0, upstreamRate: 6, uplink: 0, firstByteMs: 4_000 } as const;
/** Once four requests each: who lost a right that it had been given had no patience left; a keeper and writer stood still. */
const FOUND: Scenario[] = [
  { ...quiet, nodes: 2, faults: [{ atMs: 1_506, kind: 'suspend', who: 1, whom: 0 }] },
  { ...quiet, seed: 887_093, nodes: 3, upstreamRate: 25, faults: [{ atMs: 27, kind: 'suspend', who: 2, whom: 0 }] },
];

class Run {
  readonly network: ClaimsNetwork;
  readonly pulls: SimulatedPulls;
  readonly names: readonly string[];
  readonly broken: string[] = [];
  /** From when on nothing is wrong any more. */
  #calmSinceMs = 0;
  #isWrong = false;
  #agreedSinceMs = 0;
  /** When there were last no more writers than two. */
  #fewSinceMs = 0;
  #resumedMs = new Map<string, number>();
  /** Nothing happens by which a third one could write, not for a moment. */
  readonly #isPlain: boolean;
  #straightSinceMs = 0;

  constructor({ seed, nodes, zones, spreadMs, upstreamRate, uplink, firstByteMs, faults }: Scenario) {
    this.network = new ClaimsNetwork({ seed, uplink: (name) => (this.pulls?.thin.has(name) ? MIB / 2 : uplink * MIB) });
    this.names = Array.from({ length: nodes }, (_, i) => `node${i}`);
    this.#isPlain = !faults.some(({ kind }) => BLINDING.has(kind));
    this.network.start(this.names, (name) => (zones === 1 ? '' : `zone${Number(name.slice(4)) % zones}`));
    this.pulls = new SimulatedPulls(this.network, {
      key: KEY,
      sizeBytes: SIZE,
      upstreamRate: upstreamRate * MIB,
      linkRate: 200 * MIB,
      firstByteMs,
    });
    this.pulls.onTick = () => this.#check();
    const { queue, random } = this.network;
    for (const { parts } of this.network.alive()) parts.rates.noteRegistry('docker.io', upstreamRate * MIB);
    for (const name of this.names) {
      queue.after(random() * spreadMs, () => {
        if (this.network.get(name).alive && !this.pulls.pulls.has(name)) this.pulls.start(name);
      });
    }
    for (const { atMs, kind, who, whom } of faults) {
      queue.after(atMs, () => this.#strike(kind, this.#name(who), this.#name(whom)));
    }
    queue.after(13_000, () => this.#calm());
  }

  #name(i: number): string {
    return this.names[i % this.names.length] ?? 'node0';
  }

  #strike(kind: Scenario['faults'][number]['kind'], who: string, whom: string): void {
    const { network, pulls } = this;
    switch (kind) {
      case 'kill':
        this.#kill(who);
        return;
      case 'keeper':
        this.#kill(network.keeperOf(KEY));
        return;
      case 'writer':
        this.#kill(pulls.writers()[0]?.agent.name);
        return;
      case 'restart': {
        const skew = { rate: 0.9 + network.random() * 0.2, offsetMs: network.random() * 1e8 };
        const kept = Math.floor((pulls.pulls.get(who)?.prefix ?? 0) * network.random());
        network.restart(who, skew);
        this.#agreedSinceMs = network.queue.now();
        pulls.start(who, kept);
        return;
      }
      case 'partition':
        network.partition(this.names.filter(() => network.random() < 0.5));
        this.#isWrong = true;
        return;
      case 'heal':
        network.heal();
        this.#isWrong = false;
        this.#calmSinceMs = network.queue.now();
        return;
      case 'suspend':
        network.suspend(who, 1_000 + network.random() * 8_000);
        this.#resumedMs.set(who, network.get(who).suspendedUntilMs);
        return;
      case 'loss':
        network.loss = 0.2;
        this.#isWrong = true;
        return;
      case 'cut':
        if (who !== whom) network.cut.add(`${who}>${whom}`);
        this.#isWrong = true;
        return;
      case 'break':
        pulls.breakEdge(who);
        return;
      case 'breaks': {
        // Nobody is told that it has lost the right: they learn it by renewing.
        network.swallowed.add('revoke');
        for (const [i, name] of [...this.names, ...this.names].entries()) {
          network.queue.after(40 * i, () => pulls.breakEdge(name));
        }
        network.queue.after(2_000, () => network.swallowed.clear());
        return;
      }
      case 'slow':
      case 'strained':
        pulls.complain(who, kind);
        return;
      case 'thin':
        // A tenth of the slowest upstream, for as long as it takes the keeper to see it, and its children say so.
        pulls.thin.set(who, MIB / 2);
        for (let atMs = 1_000; atMs <= 12_000; atMs += 2_000) {
          network.queue.after(atMs, () => {
            if (pulls.thin.has(who)) for (const name of pulls.readersOf(who)) pulls.complain(name, 'slow');
          });
        }
        return;
      case 'freeze':
        pulls.frozen.add(who);
        return;
    }
  }

  /** One stays, so that there is something to see. */
  #kill(name: string | undefined): void {
    if (name === undefined || !this.network.get(name).alive || this.network.alive().length < 2) return;
    this.network.kill(name);
    // Also where all knew it before anybody looked.
    this.#agreedSinceMs = this.network.queue.now();
  }

  #calm(): void {
    this.network.heal();
    this.pulls.frozen.clear();
    this.pulls.thin.clear();
    this.#isWrong = false;
    this.#calmSinceMs = this.network.queue.now();
  }

  async toTheEnd(): Promise<boolean> {
    const { queue } = this.network;
    await queue.run(13_001);
    return queue.run(13_000 + PATIENCE_MS, () => this.pulls.allDone());
  }

  /** Keepers that have agreed for a while know of one unrevoked grant, or of a writer and its rival. */
  #checkAgreement(nowMs: number): void {
    const suspended = this.network.alive().some((agent) => nowMs < agent.suspendedUntilMs + MEETING_MS);
    if (!this.network.agrees || this.#isWrong || suspended) this.#agreedSinceMs = nowMs;
    if (nowMs - this.#agreedSinceMs < MEETING_MS) return;
    const grants = this.network.get(this.network.keeperOf(KEY)).parts.keeper.peek(KEY)?.grants;
    const known = [grants?.writer?.peerId, grants?.rival?.peerId];
    for (const { agent, lease } of this.pulls.writers()) {
      if (!(lease instanceof HeldLease) || known.includes(agent.member.peerId)) continue;
      if (!grants?.hasEnded(lease.grant))
        this.broken.push(`${nowMs}: ${agent.name} writes, its keeper knows of ${known}`);
    }
  }

  /** Does anybody read, by others, from itself? By streams, whatever keepers think. */
  #circle(): boolean {
    return this.pulls.living().some((from) => {
      let above: SimPull | undefined = from;
      // Who stands still is silent, and left for that.
      for (
        let hops = 0;
        above?.state === 'reading' && hops <= this.names.length && !this.network.isSuspended(above.agent);
        hops += 1
      ) {
        above = this.pulls.pulls.get(above.parent ?? '');
        if (above === from) return true;
      }
      return false;
    });
  }

  #check(): void {
    const nowMs = this.network.queue.now();
    const writers = this.pulls.writers().filter(({ agent }) => nowMs > (this.#resumedMs.get(agent.name) ?? 0) + 1_500);
    if (this.#isWrong || nowMs <= this.#calmSinceMs + MEETING_MS || writers.length <= 2) this.#fewSinceMs = nowMs;
    if (nowMs - this.#fewSinceMs > (this.#isPlain ? 0 : HEARING_MS)) {
      this.broken.push(`${nowMs}: ${writers.length} writers: ${writers.map(({ agent }) => agent.name)}`);
    }
    this.#checkAgreement(nowMs);
    if (this.#isWrong || nowMs <= this.#calmSinceMs + MEETING_MS || !this.#circle()) this.#straightSinceMs = nowMs;
    if (nowMs - this.#straightSinceMs > CIRCLE_MS) this.broken.push(`${nowMs}: readers in a circle`);
    for (const { name, parts } of this.network.alive()) {
      const entry = parts.keeper.peek(KEY);
      if (entry === undefined) continue;
      const granted = [entry.grants.writer, entry.grants.rival].filter((grant) => grant !== undefined);
      if (entry.grants.rival !== undefined && entry.grants.writer === undefined) {
        this.broken.push(`${nowMs}: ${name} keeps a rival of nobody`);
      }
      if (new Set(granted.map(({ peerId }) => peerId)).size < granted.length) {
        this.broken.push(`${nowMs}: ${name} granted one node twice`);
      }
      const cycle = cycleOf(entry);
      if (cycle !== undefined) this.broken.push(`${nowMs}: ${name} has a cycle through ${cycle.peerId}`);
    }
  }
}

function cycleOf(entry: Entry): Seat | undefined {
  for (const seat of entry.tree.seats()) {
    const seen = new Set<Seat>();
    for (let above: Seat | undefined = seat; above !== undefined; above = above.parent) {
      if (seen.has(above)) return seat;
      seen.add(above);
    }
  }
  return undefined;
}

describe('claims under faults', () => {
  test('whatever happens: at most two writers, few requests, no cycle, and everybody who lives gets it all', async () => {
    await assert(
      asyncProperty(scenario, async (given) => {
        const run = new Run(given);
        const done = await run.toTheEnd();
        expect(run.broken).toEqual([]);
        expect(run.pulls.errors).toEqual([]);
        const most = given.faults.reduce((sum, { kind }) => sum + REQUESTS_FOR[kind], 1);
        expect(run.pulls.requests, 'upstream requests').toBeLessThanOrEqual(most);
        if (most === 1) expect(run.pulls.upstreamBytes).toBe(SIZE);
        expect(
          done,
          `unfinished: ${JSON.stringify(run.pulls.living().map(({ agent, state, prefix, parent }) => ({ name: agent.name, state, prefix, parent })))}`,
        ).toBe(true);
      }),
      {
        examples: FOUND.map((one): [Scenario] => [one]),
        numRuns: Number(process.env.CLAIMS_RUNS ?? 2_000),
        ...(process.env.CLAIMS_SEED === 'random' ? {} : { seed: Number(process.env.CLAIMS_SEED ?? SEED) }),
      },
    );
  }, 120_000);
});
