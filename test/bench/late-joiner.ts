/**
 * Who comes late is to cost the others nothing: `node test/bench/late-joiner.ts [ROUNDS [NODES [LATE]]]`. All nodes but the
 * last ones (one, by default) pull what nobody has seen; when 95% of it has come those pull it too. The makespan of the
 * others, ÷ that of the same pull without late ones, in turn. Six layers, 100 MiB.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Lab, type LabImage } from '../e2e/lab/lab.ts';
import { rateScale } from '../e2e/lab/size.ts';
import { InsideClient } from './inside-client.ts';
import { median, spread } from './statistics.ts';

const MIB = 1024 * 1024;
const SHARES = [0.4, 0.25, 0.15, 0.1, 0.08, 0.02];
const IMAGE_MIB = 100;
const LATE_AT = 0.95;
const GOAL = 1.05;
/** Mbit/s, times `rateScale`. A chain, or a tree whose links are all used, has nothing to spare. */
const RATES = [
  { name: 'upstream at a quarter of a link', upstream: 50, node: 200 },
  { name: 'upstream at half of a link', upstream: 50, node: 100 },
  { name: 'upstream as fast as a link', upstream: 50, node: 50 },
] as const;

const rounds = Number(process.argv[2] ?? 5);
const nodes = Number(process.argv[3] ?? 8);
const lateOnes = Math.max(1, Number(process.argv[4] ?? 1));
const scale = rateScale(nodes);

console.log(`${nodes} nodes, ${lateOnes} of them late; ${rounds} rounds each, median (least–greatest)`);
for (const { name, upstream, node } of RATES) {
  const lab = await Lab.start({
    nodes,
    nodeRate: node * scale,
    upstreamRate: upstream * scale,
    scaledBuffers: true,
    settings: () => ({ log: { level: 'warn' } }),
  });
  try {
    const clients = lab.nodes.map(({ host }) => new InsideClient(lab.scratch, host));
    const boundMs = (IMAGE_MIB * MIB * 8) / (upstream * scale * 1000);
    await lab.settled();
    await lab.calm();
    // Rates are learnt by the first pull.
    await pull(clients, await newImage(lab));
    const without: number[] = [];
    const withLate: number[] = [];
    const late: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const usualMs = (await pull(clients, await newImage(lab))).othersMs;
      without.push(usualMs / boundMs);
      const { othersMs, lateMs = 0 } = await pull(clients, await newImage(lab), LATE_AT * usualMs);
      withLate.push(othersMs / boundMs);
      late.push(lateMs / boundMs);
    }
    const ratio = median(withLate) / median(without);
    console.log(
      `${name}: the others ${ratio.toFixed(3)} of what they take without (goal ≤ ${GOAL}: ${ratio <= GOAL ? 'met' : 'MISSED'}); ` +
        `÷ bound ${spread(withLate, 3)}, without ${spread(without, 3)}; the late ones themselves ${spread(late, 2)}`,
    );
  } finally {
    await lab.dispose();
  }
}

function newImage(lab: Lab): Promise<LabImage> {
  return lab.image({ layerBytes: SHARES.map((share) => Math.round(share * IMAGE_MIB * MIB)) });
}

/** @param lateAtMs when the last ones come; undefined: never */
async function pull(
  clients: readonly InsideClient[],
  { byTag }: LabImage,
  lateAtMs?: number,
): Promise<{ readonly othersMs: number; readonly lateMs: number | undefined }> {
  const startedMs = performance.now();
  const pullOne = async (client: InsideClient) => {
    const fromMs = performance.now();
    await client.pull({ mirror: 'http://127.0.0.1:5050', ...byTag, patienceMs: 600_000 });
    return performance.now() - fromMs;
  };
  const late = async () => {
    if (lateAtMs === undefined) return undefined;
    await sleep(lateAtMs - (performance.now() - startedMs));
    return Math.max(...(await Promise.all(clients.slice(-lateOnes).map(pullOne))));
  };
  const [lateMs, ...others] = await Promise.all([late(), ...clients.slice(0, -lateOnes).map(pullOne)]);
  return { othersMs: Math.max(...others.map((ms) => ms ?? 0)), lateMs };
}
