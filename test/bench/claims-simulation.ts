/**
 * The real Keeper and Claimer of 1,000 agents on a simulated network; bytes are modelled, not moved: what keepers
 * have to do, and makespan ÷ the physical bound (image ÷ upstream's rate). No TLS, no TCP, no disks.
 */
import type { Claimed, Lease } from '../../src/pull/claims/claims.ts';
import type { FailedPeer } from '../../src/pull/claims/messages.ts';
import { ClaimsNetwork, nameOf, peerIdOf, type SimAgent } from '../support/claims-network.ts';
import { seeded } from '../support/event-queue.ts';

const LINK = 125_000_000;
const IMAGE = 100_000_000;
const LAYERS = 6;
/** As containerd does. */
const AT_ONCE = 3;
/** Of the model, and so what a hop costs. */
const TICK_MS = 5;
/** One claim, as HTTP keep-alive was measured. */
const HANDLING_MS = 0.25;
const BEHIND = 1024 * 1024;
const SLOW = [
  { share: 0.3, windowMs: 250, ofWriter: false },
  { share: 0.75, windowMs: 1_500, ofWriter: true },
];

interface Mark {
  readonly atMs: number;
  readonly prefix: number;
  readonly parents: number;
}

interface Pull {
  readonly node: Node;
  readonly layer: number;
  prefix: number;
  /** At the last tick: what children can have by now. */
  before: number;
  state: 'claiming' | 'writing' | 'reading' | 'done';
  parent: Pull | undefined;
  lease: Lease | undefined;
  attachedMs: number;
  /** Of the last look at its parent, for each way to be slow. */
  marks: Mark[];
  failed: FailedPeer[];
}

interface Node {
  readonly agent: SimAgent;
  readonly uplink: number;
  readonly pulls: Pull[];
  up: number;
  down: number;
}

interface Scenario {
  readonly nodes: number;
  readonly ratio: number;
  readonly slow: number;
  /** The first of them, a slow one, comes first, and writes what is pulled first. */
  readonly slowWriter?: boolean;
  /** IMAGE, if not given. */
  readonly imageBytes?: number;
  readonly evicts: boolean;
  /** There was an earlier pull from that registry. */
  readonly known?: boolean;
}

class Simulation {
  readonly #network = new ClaimsNetwork({
    seed: 5,
    delayMs: 1,
    jitterMs: 1,
    handlingMs: HANDLING_MS,
    uplink: (name) => this.#nodes.get(name)?.uplink ?? LINK,
  });
  readonly #nodes = new Map<string, Node>();
  readonly #scenario: Scenario;
  readonly #image: number;
  readonly #size: number;
  readonly #signal = new AbortController().signal;
  #left: number;
  #upstream = 0;
  #complaints = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#image = scenario.imageBytes ?? IMAGE;
    this.#size = this.#image / LAYERS;
    const random = seeded(11);
    const names = Array.from({ length: scenario.nodes }, (_, i) => `node${i}`);
    for (const agent of this.#network.start(names)) {
      const isFirst = scenario.slowWriter === true && agent.name === names[0];
      const uplink = random() < scenario.slow || isFirst ? LINK / 10 : LINK;
      if (scenario.known) agent.parts.rates.noteRegistry('docker.io', LINK * scenario.ratio);
      this.#nodes.set(agent.name, { agent, uplink, pulls: [], up: 0, down: 0 });
    }
    this.#left = scenario.nodes * LAYERS;
    for (const node of this.#nodes.values()) {
      const isFirst = scenario.slowWriter === true && node.agent.name === names[0];
      this.#network.queue.after(isFirst ? 0 : random() * 50, () => {
        for (let layer = 0; layer < AT_ONCE; layer += 1) this.#start(node, layer);
      });
    }
  }

  async run() {
    const { queue } = this.#network;
    const tick = () => {
      this.#tick();
      queue.after(TICK_MS, tick);
    };
    queue.after(TICK_MS, tick);
    const cpu = process.cpuUsage();
    await queue.run(600_000, () => this.#left === 0);
    const { user } = process.cpuUsage(cpu);
    const agents = [...this.#nodes.values()].map(({ agent }) => agent);
    const bound = (this.#image / (LINK * this.#scenario.ratio)) * 1000;
    return {
      makespan: queue.now() / bound,
      upstream: this.#upstream / this.#image,
      claims: this.#network.calls.get('claims claim') ?? 0,
      busiest: Math.max(...agents.map(({ handled }) => handled)),
      longestMs: Math.max(...agents.map(({ longestMs }) => longestMs)),
      complaints: this.#complaints,
      cpuSeconds: user / 1e6,
    };
  }

  #start(node: Node, layer: number): void {
    const pull: Pull = {
      node,
      layer,
      prefix: 0,
      before: 0,
      state: 'claiming',
      parent: undefined,
      lease: undefined,
      attachedMs: 0,
      marks: [],
      failed: [],
    };
    node.pulls[layer] = pull;
    this.#claim(pull);
  }

  #claim(pull: Pull): void {
    pull.state = 'claiming';
    const request = {
      key: keyOf(pull.layer),
      source: 'docker.io/library/image',
      registry: 'docker.io',
      sizeBytes: this.#size,
      prefix: Math.floor(pull.prefix),
      failed: pull.failed,
      inline: false,
    };
    void pull.node.agent.parts.claimer
      .claim({ ...request, sizeBytes: Math.floor(this.#size) }, this.#signal)
      .then((claimed) => this.#take(pull, claimed));
  }

  #take(pull: Pull, claimed: Claimed): void {
    const nowMs = this.#network.queue.now();
    pull.attachedMs = nowMs;
    pull.marks = [];
    if (claimed.kind === 'write') {
      pull.state = 'writing';
      pull.lease = claimed.lease;
      pull.parent = undefined;
    } else if (claimed.kind === 'read') {
      const parent = this.#nodes.get(nameOf(claimed.parents[0]?.peerId ?? ''))?.pulls[pull.layer];
      pull.state = 'reading';
      pull.parent = parent;
      const evicted = claimed.replaces === undefined ? undefined : this.#nodes.get(nameOf(claimed.replaces));
      const its = evicted?.pulls[pull.layer];
      // The parent lets it go, and it asks for another.
      if (its !== undefined && its.state === 'reading' && its.parent === parent) this.#claim(its);
    } else throw new Error(`unexpected: ${claimed.kind}`);
  }

  #tick(): void {
    const bytes = (rate: number) => (rate * TICK_MS) / 1000;
    const readers: Pull[] = [];
    const writers: Pull[] = [];
    for (const node of this.#nodes.values()) {
      node.up = bytes(node.uplink);
      node.down = bytes(LINK);
      for (const pull of node.pulls) {
        pull.before = pull.prefix;
        if (pull.lease?.lost.aborted === true && pull.state === 'writing') this.#claim(pull);
        if (pull.state === 'writing') writers.push(pull);
        else if (pull.state === 'reading' && this.#wants(pull) > 0) readers.push(pull);
      }
    }
    const share = bytes(LINK * this.#scenario.ratio) / Math.max(1, writers.length);
    for (const pull of writers) {
      const got = Math.min(share, this.#size - pull.prefix);
      pull.node.down -= got;
      this.#upstream += got;
      this.#move(pull, got);
    }
    this.#share(readers);
    for (const pull of readers) this.#endIfWhole(pull);
    for (const pull of writers) this.#endIfWhole(pull);
    if (this.#scenario.evicts) for (const pull of readers) this.#judge(pull);
  }

  #wants(pull: Pull): number {
    return (pull.parent?.before ?? 0) - pull.prefix;
  }

  /** First each its equal share of both links, then what is left to whoever wants it. */
  #share(readers: readonly Pull[]): void {
    const ups = new Map<Node, number>();
    const downs = new Map<Node, number>();
    for (const { node, parent } of readers) {
      if (parent !== undefined) ups.set(parent.node, (ups.get(parent.node) ?? 0) + 1);
      downs.set(node, (downs.get(node) ?? 0) + 1);
    }
    const shareOf = new Map<Node, { up: number; down: number }>();
    for (const node of new Set([...ups.keys(), ...downs.keys()])) {
      shareOf.set(node, { up: node.up / (ups.get(node) ?? 1), down: node.down / (downs.get(node) ?? 1) });
    }
    for (const fair of [true, false]) {
      for (const pull of readers) {
        const { node, parent } = pull;
        if (parent === undefined) continue;
        const up = fair ? (shareOf.get(parent.node)?.up ?? 0) : parent.node.up;
        const down = fair ? (shareOf.get(node)?.down ?? 0) : node.down;
        const got = Math.max(0, Math.min(this.#wants(pull), up, down, parent.node.up, node.down));
        parent.node.up -= got;
        node.down -= got;
        parent.lease?.sent(got);
        this.#move(pull, got);
      }
    }
  }

  #move(pull: Pull, bytes: number): void {
    pull.prefix += bytes;
    if (pull.state === 'writing') pull.lease?.progress('writing', Math.floor(pull.prefix));
  }

  #endIfWhole(pull: Pull): void {
    if (pull.state === 'done' || pull.state === 'claiming' || pull.prefix < this.#size - 1) return;
    pull.prefix = this.#size;
    pull.state = 'done';
    this.#left -= 1;
    pull.node.agent.parts.claimer.held(keyOf(pull.layer), 'docker.io/library/image', {
      sizeBytes: Math.floor(this.#size),
    });
    const next = pull.node.pulls.length;
    if (next < LAYERS) this.#start(pull.node, next);
  }

  /** As src/pull/slow-parent.ts does: far behind its parent, and getting far less than that. */
  #judge(pull: Pull): void {
    const nowMs = this.#network.queue.now();
    const { parent } = pull;
    if (pull.state !== 'reading' || parent === undefined) return;
    const isSlow = SLOW.map(({ share, windowMs, ofWriter }, way) => {
      const mark = pull.marks[way];
      if (mark !== undefined && nowMs - mark.atMs < windowMs) return false;
      pull.marks[way] = { atMs: nowMs, prefix: pull.prefix, parents: parent.prefix };
      if (mark === undefined || (ofWriter && parent.state !== 'writing')) return false;
      return pull.prefix - mark.prefix < share * (parent.prefix - mark.parents);
    });
    const isOld = nowMs - pull.attachedMs > 400;
    if (!isOld || parent.prefix - pull.prefix < BEHIND || !isSlow.includes(true)) return;
    this.#complaints += 1;
    pull.failed = [...pull.failed, { peerId: peerIdOf(parent.node.agent.name), why: 'slow' }];
    this.#claim(pull);
  }
}

function keyOf(layer: number): string {
  return `blob:sha256:${String(layer).padStart(64, '0')}`;
}

const wanted = process.argv[2];
const sizes = wanted === undefined ? [16, 100, 1000] : [Number(wanted)];
const scenarios: readonly Omit<Scenario, 'nodes'>[] = [
  { ratio: 0.25, slow: 0, evicts: true },
  { ratio: 0.5, slow: 0, evicts: true },
  { ratio: 1, slow: 0, evicts: true },
  { ratio: 1, slow: 0, evicts: true, known: true },
  { ratio: 0.25, slow: 0.05, evicts: false },
  { ratio: 0.25, slow: 0.05, evicts: true },
  { ratio: 1, slow: 0.05, evicts: false },
  { ratio: 1, slow: 0.05, evicts: true },
  { ratio: 0.25, slow: 0, slowWriter: true, imageBytes: 10 * IMAGE, evicts: false },
  { ratio: 0.25, slow: 0, slowWriter: true, imageBytes: 10 * IMAGE, evicts: true },
];
console.log(
  '| nodes | U/B | slow nodes | complaints | makespan ÷ bound | upstream ÷ image | calls of claims | most at one agent | longest wait ms | CPU-s |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const nodes of sizes) {
  for (const scenario of scenarios) {
    const result = await new Simulation({ ...scenario, nodes }).run();
    const { makespan, upstream, claims, busiest, longestMs, complaints, cpuSeconds } = result;
    const cells = [
      nodes,
      `${scenario.ratio}${scenario.known ? ', known' : ''}`,
      scenario.slowWriter ? 'a writer, 1 GB' : `${scenario.slow * 100}%`,
      scenario.slow > 0 || scenario.slowWriter || complaints > 0
        ? scenario.evicts
          ? `yes (${complaints})`
          : 'no'
        : '–',
      makespan.toFixed(2),
      upstream.toFixed(3),
      claims,
      busiest,
      longestMs.toFixed(0),
      cpuSeconds.toFixed(1),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
