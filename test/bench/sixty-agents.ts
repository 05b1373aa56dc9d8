/**
 * What a cluster costs while nothing is pulled: `node test/bench/sixty-agents.ts [agents…]`, by default 15, 30 and 60 agents
 * with 2,000 blobs each, 15 to a process, on loopback. Bytes and CPU are of a minute in which nothing is asked for; what
 * cannot be told apart in one process (CPU, memory) is divided by the agents in it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { InProcessAgents } from '../support/in-process-agents.ts';
import type { LookupResult, WorkerUsage } from '../support/in-process-agents-worker.ts';
import { Scratch } from '../support/scratch.ts';
import { median } from './statistics.ts';

const AGENTS_A_PROCESS = 15;
const BLOBS_EACH = 2_000;
const LOOKUPS_EACH = 100;
const IDLE_MS = 60_000;
/** The members that are new compare their index with each other within 10 s; connections above 24 are let go. */
const CALM_MS = 20_000;

const sizes = process.argv.slice(2).map(Number);
for (const agents of sizes.length > 0 ? sizes : [15, 30, 60]) await measure(agents);

async function measure(agents: number): Promise<void> {
  const processes = Math.ceil(agents / AGENTS_A_PROCESS);
  const scratch = await Scratch.create();
  try {
    const startMs = performance.now();
    const crowd = await InProcessAgents.start(scratch, { agents, processes, blobsEach: BLOBS_EACH });
    const startedMs = performance.now();
    await crowd.settled();
    const settledMs = performance.now();
    const starting = total(await crowd.usage());
    // Holders tell new keepers of theirs some seconds after the roster has changed.
    const misses: number[] = [];
    let results: LookupResult[];
    do {
      results = await crowd.lookups(LOOKUPS_EACH);
      misses.push(results.filter(({ holders }) => holders.length === 0).length);
    } while (misses.at(-1) !== 0);
    const wholeMs = performance.now();
    await sleep(CALM_MS);
    results = await crowd.lookups(LOOKUPS_EACH);
    misses.push(results.filter(({ holders }) => holders.length === 0).length);
    const before = total(await crowd.usage());
    const fromMs = performance.now();
    await sleep(IDLE_MS);
    const after = total(await crowd.usage());
    const seconds = (performance.now() - fromMs) / 1000;
    const states = await crowd.states();
    const connections = states.map((state) => state.connections);
    const each = (value: number) => value / agents;
    console.log(
      [
        `${agents} agents`,
        `started in ${((startedMs - startMs) / 1000).toFixed(1)} s, settled ${((settledMs - startedMs) / 1000).toFixed(1)} s later`,
        `  by then: ${(each(starting.acceptedBytes) / 1024).toFixed(0)} KiB and ${each(starting.calls).toFixed(0)} calls an agent`,
        `every lookup finds a holder ${((wholeMs - settledMs) / 1000).toFixed(1)} s after that; of ${results.length} each time, and ` +
          `${CALM_MS / 1000} s later, found nothing: ${misses.join(', ')}`,
        `lookups: ${describe(results)}`,
        `idle, an agent: ${(each(after.acceptedBytes - before.acceptedBytes) / seconds).toFixed(0)} bytes/s sent, ` +
          `${(each(after.calls - before.calls) / seconds).toFixed(2)} calls/s, ` +
          `${((each(after.cpuMs - before.cpuMs) / seconds / 1000) * 100).toFixed(2)}% of a core`,
        `memory: ${(each(after.rssBytes) / 1024 ** 2).toFixed(0)} MiB an agent (${(after.rssBytes / processes / 1024 ** 2).toFixed(0)} a process)`,
        `libp2p connections: ${median(connections)} (at most ${Math.max(...connections)})`,
      ].join('\n'),
    );
    await crowd.stop();
  } finally {
    await scratch.dispose();
  }
}

function describe(results: readonly LookupResult[]): string {
  const sorted = results.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
}

function total(usages: readonly WorkerUsage[]): WorkerUsage {
  const sum = (of: (usage: WorkerUsage) => number) => usages.reduce((all, usage) => all + of(usage), 0);
  return {
    acceptedBytes: sum((usage) => usage.acceptedBytes),
    calls: sum((usage) => usage.calls),
    cpuMs: sum((usage) => usage.cpuMs),
    rssBytes: sum((usage) => usage.rssBytes),
  };
}
