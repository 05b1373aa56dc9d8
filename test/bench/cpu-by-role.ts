/**
 * What an agent spends on a blob by what it does with it: `node test/bench/cpu-by-role.ts [ROUNDS [MB]]`. The first of
 * three nodes holds it and sends it once; the second, in another zone, gets it and sends it on while it comes; the
 * third, beside the second, gets it. Whole agents, with their stores and a client each of those that get it.
 * CPU-seconds per GiB, with TLS and without, at 1 Gbit/s, at 200 Mbit/s and without a limit.
 */
import { Lab } from '../e2e/lab/lab.ts';
import { eventually } from '../support/eventually.ts';
import { BackedMemory } from './backed-memory.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { InsideClient } from './inside-client.ts';
import { spread } from './statistics.ts';

const MB = 1e6;
const GIB = 1024 ** 3;
const ROLES = ['sends', 'relays', 'receives'] as const;
const ZONES = ['east', 'west', 'west'];
/** What two agents got from each other twice, by changing parents. */
const TOLERANCE = 0.05;

const rounds = Number(process.argv[2] ?? 3);
const layerBytes = [Number(process.argv[3] ?? 250) * MB];

console.log(`${rounds} rounds, CPU-seconds per GiB, median (least–greatest)`);
for (const encryption of ['tls', 'none']) {
  const lab = await Lab.start({
    nodes: ROLES.length,
    settings: (node) => ({
      log: { level: 'warn' },
      store: { maxSize: '8GiB' },
      node: { zone: ZONES[node] },
      peer: { encryption },
    }),
  });
  try {
    const clients = lab.nodes.map(({ host }) => new InsideClient(lab.scratch, host));
    const [, relay] = lab.nodes;
    if (relay === undefined) throw new Error('no relay');
    const memory = await BackedMemory.create(lab.scratch);
    const cpu = () => Promise.all(lab.nodes.map(({ agent }) => cpuSeconds(agent.pid)));
    const sent = () => Promise.all(lab.nodes.map(({ agent }) => agent.metric('windlass_peer_sent_bytes_total')));
    const received = () => relay.agent.metric('windlass_peer_received_bytes_total');
    await lab.settled();
    await lab.calm();
    for (const megabits of [1000, 200, undefined]) {
      for (const { host } of lab.nodes) await lab.network.limit(host, { up: megabits, down: megabits });
      const spent: number[][] = ROLES.map(() => []);
      for (let round = 0; round <= rounds; round += 1) {
        const { image, byTag } = await lab.image({ layerBytes });
        await lab.node(0).pull(byTag).done;
        await memory.fill();
        // What a pull leaves to be said later is not to be counted.
        await lab.calm();
        const [cpuBefore, sentBefore, receivedBefore] = [await cpu(), await sent(), await received()];
        const pull = (node: number) =>
          clients[node]?.pull({ mirror: 'http://127.0.0.1:5050', ...byTag, patienceMs: 600_000 });
        const first = pull(1);
        await eventually(async () => (await received()) > receivedBefore + MB, { everyMs: 50, what: 'bytes to come' });
        await Promise.all([first, pull(2)]);
        const [cpuAfter, sentAfter] = [await cpu(), await sent()];
        const shares = sentAfter.map((bytes, node) => (bytes - (sentBefore[node] ?? 0)) / image.totalBytes);
        const isAsMeant = shares.every((share, node) => Math.abs(share - (node < 2 ? 1 : 0)) <= TOLERANCE);
        if (!isAsMeant)
          console.log(`  a round left out: they sent ${shares.map((share) => share.toFixed(2)).join(', ')}`);
        // The first one warms up.
        if (round === 0 || !isAsMeant) continue;
        spent.forEach(
          (of, node) => void of.push((((cpuAfter[node] ?? 0) - (cpuBefore[node] ?? 0)) * GIB) / image.totalBytes),
        );
      }
      const link = megabits === undefined ? 'no limit' : `${megabits} Mbit/s`;
      console.log(
        `${encryption}, ${link}: ${ROLES.map((role, node) => `${role} ${spread(spent[node] ?? [])}`).join(', ')}`,
      );
    }
  } finally {
    await lab.dispose();
  }
}
