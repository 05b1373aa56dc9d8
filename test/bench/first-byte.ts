/**
 * How long after upstream's first byte a client has its first byte: `node test/bench/first-byte.ts [ROUNDS]`.
 * Upstream answers after 300 ms, then sends 50 MiB at 25 MiB/s. Eight clients ask at once; the last one counts.
 */
import { AgentProcess } from '../support/agent-process.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf, seededBytes } from '../support/image.ts';
import { Scratch } from '../support/scratch.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { median, spread } from './statistics.ts';

const MIB = 1024 * 1024;
const CLIENTS = 8;
const GOAL_MS = 100;

const rounds = Number(process.argv[2] ?? 10);
const scratch = await Scratch.create();
try {
  const upstream = await ScriptedUpstream.start();
  scratch.defer(() => upstream.stop());
  const agent = await AgentProcess.start(scratch, { registries: { 'docker.io': `http://${upstream.address}` } });
  for (const [name, sizeBytes] of [
    ['50 MiB', 50 * MIB],
    ['30 KiB', 30 * 1024],
  ] as const) {
    const delays: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const bytes = seededBytes(`first byte ${name} ${round}`, sizeBytes);
      const digest = digestOf(bytes);
      let upstreamAt = 0;
      upstream.on(`library/x/blobs/${digest}`, (_request, response) => {
        setTimeout(() => {
          response.writeHead(200, { 'content-length': bytes.length });
          let position = 0;
          const timer = setInterval(() => {
            upstreamAt ||= performance.now();
            response.write(bytes.subarray(position, position + MIB / 4));
            position += MIB / 4;
            if (position < bytes.length) return;
            clearInterval(timer);
            response.end();
          }, 10);
        }, 300);
      });
      const firsts = await Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          let first = 0;
          await httpGet(`${agent.mirrorUrl}/v2/library/x/blobs/${digest}`, {
            onBytes: () => {
              first ||= performance.now();
            },
          });
          return first;
        }),
      );
      delays.push(Math.max(...firsts) - upstreamAt);
    }
    console.log(
      `${name}: first byte at the last of ${CLIENTS} clients ${spread(delays, 1)} ms after upstream's, goal ≤ ${GOAL_MS}: ` +
        `${median(delays) <= GOAL_MS ? 'met' : 'MISSED'}`,
    );
  }
} finally {
  await scratch.dispose();
}
