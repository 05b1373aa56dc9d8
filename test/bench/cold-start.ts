/**
 * A cold start: N nodes pull at once what nobody has seen, `node test/bench/cold-start.ts [ROUNDS [N …]] [alone]`. Makespan ÷
 * (image ÷ upstream's rate), by agents, by every node going to the registry itself, and through one docker-registry as
 * a pull-through cache on the first node (not with `alone`). Six layers, 100 MiB; 25 MiB for the others, which take N
 * times as long.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Lab, type LabImage } from '../e2e/lab/lab.ts';
import { LabRegistry } from '../e2e/lab/lab-registry.ts';
import { rateScale } from '../e2e/lab/size.ts';
import type { Image } from '../support/image.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { InsideClient } from './inside-client.ts';
import { median, spread } from './statistics.ts';

const MIB = 1024 * 1024;
const SHARES = [0.4, 0.25, 0.15, 0.1, 0.08, 0.02];
const IMAGE_MIB = 100;
const OTHERS_MIB = 25;
/** More than it takes to have the manifest. */
const AHEAD_MS = 60;
/** Mbit/s, times `rateScale`. */
const RATES = [
  { name: 'upstream at a quarter of a link', upstream: 50, node: 200, goal: 1.15 },
  { name: 'upstream as fast as a link', upstream: 50, node: 50, goal: 1.5 },
] as const;

const alone = process.argv.at(-1) === 'alone';
const [rounds = 3, ...given] = process.argv.slice(2, alone ? -1 : undefined).map(Number);
const sizes = given.length > 0 ? given : [4, 8, 16];

console.log(`${rounds} rounds, median (least–greatest); upstream bytes ÷ image in brackets`);
for (const { name, goal, ...rates } of RATES) {
  for (const nodes of sizes) {
    const upstream = rates.upstream * rateScale(nodes);
    const node = rates.node * rateScale(nodes);
    const first: number[] = [];
    const later: number[] = [];
    const cpu: number[] = [];
    const bytes: number[] = [];
    await withLab({ nodes, nodeRate: node, upstreamRate: upstream }, async (lab, clients) => {
      await lab.settled();
      await lab.calm();
      for (let round = 0; round <= rounds; round += 1) {
        const image = await newImage(lab, IMAGE_MIB);
        const before = await agentsCpu(lab);
        const ratio = await makespan(clients, image, upstream, () => 'http://127.0.0.1:5050');
        (round === 0 ? first : later).push(ratio);
        const moved = (image.image.totalBytes * nodes) / (1024 * MIB);
        cpu.push(((await agentsCpu(lab)) - before) / moved);
        bytes.push((await lab.registry.report()).agentBytes / image.image.totalBytes);
      }
    });
    console.log(
      `${name}, ${nodes} nodes: agents ${spread(later, 3)} (goal ≤ ${goal}: ${median(later) <= goal ? 'met' : 'MISSED'}), ` +
        `the first pull ${first[0]?.toFixed(3)} [${spread(bytes, 3)}]; agents' CPU-s per GiB ${median(cpu).toFixed(1)}`,
    );
    if (alone) continue;
    await withLab({ nodes, nodeRate: node, upstreamRate: upstream, agents: 0 }, async (lab, clients) => {
      const direct = await makespan(clients, await newImage(lab, OTHERS_MIB), upstream, () => lab.registry.url);
      const cache = await LabRegistry.start(lab.scratch, lab.node(0).host, lab.registry.url);
      const cached = await makespan(clients, await newImage(lab, OTHERS_MIB), upstream, () => cache.url);
      console.log(`  each directly ${direct.toFixed(2)}; one pull-through cache ${cached.toFixed(2)}`);
    });
  }
}

const nodes = sizes.at(-1) ?? 16;
const scale = rateScale(nodes);
await withLab({ nodes, nodeRate: 200 * scale, upstreamRate: 50 * scale }, async (lab, clients) => {
  const slow = lab.node(nodes - 1);
  await lab.network.limit(slow.host, { up: 20 * scale, down: 200 * scale });
  await lab.settled();
  await lab.calm();
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // Who is the first to have the manifest is the first to ask for each layer: every second time that is the slow one.
    const startMs = (node: number) => (round % 2 === 1 && node !== nodes - 1 ? AHEAD_MS : 0);
    const options = { counted: nodes - 1, startMs };
    ratios.push(
      await makespan(clients, await newImage(lab, IMAGE_MIB), 50 * scale, () => 'http://127.0.0.1:5050', options),
    );
  }
  console.log(
    `one uplink of ${nodes} at a tenth, upstream at a quarter: the others ${spread(ratios, 3)} (goal ≤ 1.15): ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}`,
  );
});

async function withLab(
  options: Parameters<typeof Lab.start>[0],
  body: (lab: Lab, clients: readonly InsideClient[]) => Promise<void>,
): Promise<void> {
  const lab = await Lab.start({ settings: () => ({ log: { level: 'warn' } }), scaledBuffers: true, ...options });
  try {
    await body(
      lab,
      lab.nodes.map(({ host }) => new InsideClient(lab.scratch, host)),
    );
  } finally {
    await lab.dispose();
  }
}

function newImage(lab: Lab, mib: number): Promise<LabImage> {
  return lab.image({ layerBytes: SHARES.map((share) => Math.round(share * mib * MIB)) });
}

/**
 * Of the first `counted` nodes (all, if it is not given), in units of the least time that upstream's link needs. `startMs`:
 * by how much a node is late.
 */
async function makespan(
  clients: readonly InsideClient[],
  { image, byTag }: LabImage,
  upstream: number,
  mirror: () => string,
  { counted = clients.length, startMs = (_node: number): number => 0 } = {},
): Promise<number> {
  const startedMs = performance.now();
  const ends = await Promise.all(
    clients.map(async (client, node) => {
      await sleep(startMs(node));
      await client.pull({ mirror: mirror(), ...byTag, patienceMs: 600_000 });
      return performance.now() - startedMs;
    }),
  );
  return Math.max(...ends.slice(0, counted)) / boundMs(image, upstream);
}

function boundMs(image: Image, megabits: number): number {
  return (image.totalBytes * 8) / (megabits * 1000);
}

async function agentsCpu(lab: Lab): Promise<number> {
  const all = await Promise.all(lab.nodes.map(({ agent }) => cpuSeconds(agent.pid)));
  return all.reduce((sum, seconds) => sum + seconds, 0);
}
