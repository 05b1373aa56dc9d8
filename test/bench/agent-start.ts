/**
 * The start of an agent, `node test/bench/agent-start.ts [ROUNDS]`: from source, from the bundle that the image has, and
 * from that with V8's cache of compiled code (NODE_COMPILE_CACHE), filled before. Time until it is ready, CPU until then
 * and two seconds on, RSS then; alone, and with libp2p. Rounds are interleaved.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { freePorts } from '../../src/demo/free-ports.ts';
import { run } from '../support/commands.ts';
import { Daemon } from '../support/daemon.ts';
import { Scratch } from '../support/scratch.ts';
import { median } from './statistics.ts';

const MIB = 1024 * 1024;
const SETTLED_MS = 2_000;
const path = (relative: string) => fileURLToPath(new URL(`../../${relative}`, import.meta.url));

const rounds = Number(process.argv[2] ?? 5);
await using scratch = await Scratch.create();
const bundle = scratch.join('dist');
await run(process.execPath, [path('.ci/build/build.ts'), '--to', bundle]);

const variants = [
  { name: 'source', main: path('src/main.ts') },
  { name: 'bundle', main: `${bundle}/main.js` },
  { name: 'bundle, compile cache', main: `${bundle}/main.js`, env: { NODE_COMPILE_CACHE: scratch.join('cache') } },
];

for (const discovery of ['none', 'static'] as const) {
  const [mirror = 0, peer = 0, p2p = 0, status = 0] = await freePorts(4);
  const config = scratch.join(`${discovery}.yaml`);
  const settings = {
    mirror: { listen: [`127.0.0.1:${mirror}`] },
    peer: { listen: `127.0.0.1:${peer}` },
    p2p: { listen: [`/ip4/127.0.0.1/tcp/${p2p}`] },
    status: { listen: `127.0.0.1:${status}` },
    store: { path: scratch.join('store'), minFree: '1%' },
    ...(discovery === 'static'
      ? { cluster: { insecure: true }, discovery: { kind: 'static', peers: [`127.0.0.1:${p2p}`] } }
      : {}),
  };
  await writeFile(config, stringify(settings));
  const samples = variants.map(() => ({ readyMs: [] as number[], cpu: [] as number[], rss: [] as number[] }));
  // The first round fills caches, and does not count.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, { main, env }] of variants.entries()) {
      const startedMs = performance.now();
      const agent = new Daemon(
        scratch,
        'agent',
        process.execPath,
        [main, 'agent', '--config', config],
        env ? { env } : {},
      );
      await agent.ready(async () => (await fetch(`http://127.0.0.1:${status}/readyz`)).ok);
      const readyMs = performance.now() - startedMs;
      await sleep(SETTLED_MS);
      const cpu = await agent.cpuSeconds();
      const { rssBytes } = await agent.memory();
      await agent.stop();
      if (round === 0) continue;
      samples[index]?.readyMs.push(readyMs);
      samples[index]?.cpu.push(cpu);
      samples[index]?.rss.push(rssBytes / MIB);
    }
  }
  console.log(`discovery: ${discovery}; medians of ${rounds}`);
  for (const [index, { name }] of variants.entries()) {
    const { readyMs = [], cpu = [], rss = [] } = samples[index] ?? {};
    console.log(
      `  ${name}: ready ${median(readyMs).toFixed(0)} ms, ${median(cpu).toFixed(2)} CPU-s, ${median(rss).toFixed(0)} MiB`,
    );
  }
}
