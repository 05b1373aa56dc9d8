/**
 * A warm pull by one containerd: what it has not got, another node has. Through its agent from that node's agent, and
 * straight from a docker-registry on that node, side by side: `node test/bench/warm-pull.ts [ROUNDS [MOST [LEAST]]]`,
 * images of at most and at least so many MB. At links of
 * 1 Gbit/s and without a limit. The order changes from round to round; before each the page cache fills the memory.
 */
import { Lab, type LabImage } from '../e2e/lab/lab.ts';
import { nameOf } from '../e2e/lab/lab-node.ts';
import { LabRegistry } from '../e2e/lab/lab-registry.ts';
import { containerds } from '../e2e/lab/requirements.ts';
import { buildContainerd2 } from '../support/containerd-binaries.ts';
import { BackedMemory } from './backed-memory.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { median, spread } from './statistics.ts';

const MB = 1e6;
const GIB = 1024 ** 3;
const IMAGES = [
  { name: '10 MB/1', layerBytes: [10 * MB], goal: 1.3 },
  { name: '10 MB/4', layerBytes: Array(4).fill(2.5 * MB), goal: 1.3 },
  { name: '100 MB/1', layerBytes: [100 * MB], goal: 1.15 },
  { name: '100 MB/4', layerBytes: Array(4).fill(25 * MB), goal: 1.15 },
  { name: '1 GB/1', layerBytes: [1000 * MB], goal: 1.15 },
  { name: '1 GB/4', layerBytes: Array(4).fill(250 * MB), goal: 1.15 },
];
const CONTENDERS = ['agent', 'registry'] as const;
type Contender = (typeof CONTENDERS)[number];
interface Measured {
  readonly seconds: number;
  /** CPU-seconds per GiB. */
  readonly cpu: Readonly<Record<'containerd' | 'receiver' | 'sender', number>>;
}

const rounds = Number(process.argv[2] ?? 5);
const maxBytes = Number(process.argv[3] ?? 1000) * MB;
const minBytes = Number(process.argv[4] ?? 0) * MB;
await buildContainerd2().catch(() => {});
const [binaries] = containerds(1);
if (binaries === undefined) throw new Error('no containerd');
const lab = await Lab.start({
  nodes: 2,
  // The second node pulls; the first one holds.
  containerds: [undefined, binaries],
  settings: () => ({ log: { level: 'warn' }, store: { maxSize: '4GiB' } }),
});
try {
  await lab.settled();
  const [holder, puller] = [lab.node(0), lab.node(1)];
  const { containerd } = puller;
  if (containerd === undefined) throw new Error('no containerd');
  const registry = await LabRegistry.start(lab.scratch, holder.host);
  await lab.mirrorless('peer.test', registry.url);
  const memory = await BackedMemory.create(lab.scratch);

  const pull = async (who: Contender, { image, byTag }: LabImage): Promise<Measured> => {
    const cpuOfAll = async () => ({
      containerd: await containerd.cpuSeconds(),
      receiver: await cpuSeconds(puller.agent.pid),
      sender: await cpuSeconds(who === 'agent' ? holder.agent.pid : registry.registry.pid),
    });
    await memory.fill();
    const before = await cpuOfAll();
    const startedMs = performance.now();
    await containerd.pull(nameOf(who === 'agent' ? byTag : { ...byTag, ns: 'peer.test' }));
    const seconds = (performance.now() - startedMs) / 1000;
    const after = await cpuOfAll();
    await containerd.removeImages();
    const perGib = (spent: number) => (spent * GIB) / image.totalBytes;
    return {
      seconds,
      cpu: {
        containerd: perGib(after.containerd - before.containerd),
        receiver: perGib(after.receiver - before.receiver),
        sender: perGib(after.sender - before.sender),
      },
    };
  };

  for (const megabits of [1000, undefined]) {
    console.log(megabits === undefined ? 'no limit' : `${megabits} Mbit/s`);
    for (const host of [holder.host, puller.host]) await lab.network.limit(host, { up: megabits, down: megabits });
    for (const { name, layerBytes, goal } of IMAGES) {
      const bytes = layerBytes.reduce((sum, layer) => sum + layer, 0);
      if (bytes > maxBytes || bytes < minBytes) continue;
      const measured: Record<Contender, Measured[]> = { agent: [], registry: [] };
      for (let round = 0; round <= rounds; round += 1) {
        const image = await lab.image({ layerBytes });
        await registry.push(image.byTag.repository, 'v1', image.image);
        await holder.pull(image.byTag).done;
        await lab.registry.registry.forget();
        for (let i = 0; i < CONTENDERS.length; i += 1) {
          const who = CONTENDERS[(round + i) % CONTENDERS.length] ?? 'agent';
          const result = await pull(who, image);
          if (round > 0) measured[who].push(result); // the first one warms up
        }
        const { agentBytes } = await lab.registry.report();
        if (agentBytes > 0) console.log(`  ${name}: ${agentBytes} bytes came from upstream`);
      }
      const ratios = measured.agent.map(({ seconds }, i) => seconds / (measured.registry[i]?.seconds ?? Number.NaN));
      const milliseconds = (who: Contender) =>
        spread(
          measured[who].map(({ seconds }) => seconds * 1000),
          0,
        );
      // Goals are for links of 1 Gbit/s.
      const verdict = megabits === undefined ? '' : `, goal ≤ ${goal}: ${median(ratios) <= goal ? 'met' : 'MISSED'}`;
      console.log(
        `  ${name}: agent ${milliseconds('agent')} ms, registry ${milliseconds('registry')} ms, ratio ${spread(ratios)}${verdict}`,
      );
      const cpu = (who: Contender, of: keyof Measured['cpu']) => median(measured[who].map((m) => m.cpu[of])).toFixed(1);
      console.log(
        `    CPU-s per GiB: containerd ${cpu('agent', 'containerd')}, receiving agent ${cpu('agent', 'receiver')}, ` +
          `sending agent ${cpu('agent', 'sender')}; containerd ${cpu('registry', 'containerd')}, registry ${cpu('registry', 'sender')}`,
      );
    }
  }
} finally {
  await lab.dispose();
}
