/**
 * A cold pull by one containerd: directly, through the agent, and through docker-registry as a pull-through cache on the
 * same node, side by side: `node test/bench/cold-pull.ts [ROUNDS]`. Upstream is docker-registry behind a link of
 * 200 Mbit/s, of 1 Gbit/s, and without a limit. Each pull is of an image that nobody has seen (100 MiB in 4 layers,
 * gzip). The order changes from round to round.
 */
import { AgentProcess } from '../support/agent-process.ts';
import { Containerd } from '../support/containerd.ts';
import { buildContainerd2, builtContainerd, debianContainerd } from '../support/containerd-binaries.ts';
import { writeHostsToml } from '../support/hosts-toml.ts';
import { buildImage } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { Scratch } from '../support/scratch.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { median, spread } from './statistics.ts';
import { ThrottledLink } from './throttled-link.ts';

const MIB = 1024 * 1024;
const LAYER_BYTES = [40 * MIB, 30 * MIB, 20 * MIB, 10 * MIB];
const LINKS = [
  { name: '200 Mbit/s', megabits: 200, goal: 1.03 },
  { name: '1 Gbit/s', megabits: 1000, goal: 1.1 },
  { name: 'no limit', megabits: undefined, goal: undefined },
] as const;

const CONTENDERS = ['direct', 'agent', 'proxy'] as const;
type Contender = (typeof CONTENDERS)[number];
interface Pull {
  readonly seconds: number;
  /** CPU-seconds per GiB of the image, by process. */
  readonly cpu: Readonly<Record<'containerd' | 'agent' | 'proxy' | 'upstream', number>>;
}

const rounds = Number(process.argv[2] ?? 5);
const scratch = await Scratch.create();
try {
  await buildContainerd2().catch(() => {});
  const built = builtContainerd();
  const binaries = typeof built === 'string' ? debianContainerd() : built;
  if (typeof binaries === 'string') throw new Error(binaries);
  const link = await ThrottledLink.create(scratch);
  const registry = await RealRegistry.start(scratch, { network: link });
  const proxy = await RealRegistry.start(scratch, { proxyOf: registry.url });
  const agent = await AgentProcess.start(scratch, {
    registries: { 'agent.test': registry.url },
    settings: { log: { level: 'info' } },
  });
  const hostsDir = scratch.join('certs.d');
  const mirrors: Record<Contender, string[]> = { direct: [], agent: [agent.mirrorUrl], proxy: [proxy.url] };
  for (const who of CONTENDERS) {
    await writeHostsToml(hostsDir, { registry: `${who}.test`, mirrors: mirrors[who], server: registry.url });
  }
  const containerd = await Containerd.start(scratch, binaries, { hostsDir, snapshotter: 'overlayfs' });
  console.log(`containerd ${binaries.major}.x, ${rounds} rounds, median (least–greatest)`);

  const cpuOfAll = async () => ({
    containerd: await containerd.cpuSeconds(),
    agent: await cpuSeconds(agent.pid),
    proxy: await cpuSeconds(proxy.pid),
    upstream: await cpuSeconds(registry.pid),
  });
  let images = 0;
  const pull = async (who: Contender, megabits: number | undefined): Promise<Pull> => {
    images += 1;
    const image = buildImage({ seed: `bench ${images}`, layerBytes: LAYER_BYTES });
    await link.limit(undefined);
    await pushImage(registry.url, 'library/bench', `v${images}`, image);
    await link.limit(megabits);
    const before = await cpuOfAll();
    const start = performance.now();
    await containerd.pull(`${who}.test/library/bench:v${images}`);
    const seconds = (performance.now() - start) / 1000;
    const after = await cpuOfAll();
    await containerd.removeImages();
    const perGib = (spent: number) => (spent * 1024 * MIB) / image.totalBytes;
    return {
      seconds,
      cpu: {
        containerd: perGib(after.containerd - before.containerd),
        agent: perGib(after.agent - before.agent),
        proxy: perGib(after.proxy - before.proxy),
        upstream: perGib(after.upstream - before.upstream),
      },
    };
  };
  for (const who of CONTENDERS) await pull(who, undefined);

  for (const { name, megabits, goal } of LINKS) {
    const pulls: Record<Contender, Pull[]> = { direct: [], agent: [], proxy: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (let i = 0; i < CONTENDERS.length; i += 1) {
        const who = CONTENDERS[(round + i) % CONTENDERS.length] ?? 'direct';
        pulls[who].push(await pull(who, megabits));
      }
    }
    const ratios = (who: Contender) =>
      pulls[who].map(({ seconds }, round) => seconds / (pulls.direct[round]?.seconds ?? Number.NaN));
    const verdict = goal === undefined ? '' : `, goal ≤ ${goal}: ${median(ratios('agent')) <= goal ? 'met' : 'MISSED'}`;
    console.log(
      `${name}: direct ${spread(pulls.direct.map(({ seconds }) => seconds))} s; ` +
        `agent ÷ direct ${spread(ratios('agent'), 3)}${verdict}; proxy ÷ direct ${spread(ratios('proxy'), 3)}`,
    );
    for (const who of CONTENDERS) {
      const cpu = (process: keyof Pull['cpu']) =>
        `${process} ${median(pulls[who].map((p) => p.cpu[process])).toFixed(2)}`;
      const own = who === 'direct' ? [] : [cpu(who)];
      console.log(`  CPU-s per GiB, ${who}: ${[cpu('containerd'), ...own, cpu('upstream')].join(', ')}`);
    }
  }
} finally {
  await scratch.dispose();
}
