import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentProcess } from './agent-process.ts';
import { freePorts } from './free-ports.ts';

/** Mirror, status, data between agents, libp2p. */
const PORTS_EACH = 4;
const TOGETHER_MS = 30_000;

export interface AgentsOptions {
  readonly count: number;
  /** For their stores and the cluster's secret. */
  readonly directory: string;
  readonly entry: string;
  /** The allow-list, as the setting `registries` has it. */
  readonly registries: readonly { readonly host: string; readonly endpoint: string }[];
  /** A file that gets all their logs, each line with its node. */
  readonly log: string | undefined;
}

/** The agents of a small cluster on loopback: each with ports and a store of its own, one secret for all. */
export class Agents implements AsyncDisposable {
  readonly all: readonly AgentProcess[];

  private constructor(all: readonly AgentProcess[]) {
    this.all = all;
  }

  /** Resolves when all serve. Rejects with what the first said that did not start; nothing is left then. */
  static async start(options: AgentsOptions, signal: AbortSignal): Promise<Agents> {
    const { count, directory, log } = options;
    const secretFile = path.join(directory, 'secret');
    await writeFile(secretFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    const ports = await freePorts(PORTS_EACH * count);
    const [first = 0] = ports;
    const p2pPorts = Array.from({ length: count }, (_, i) => ports[i * PORTS_EACH + 3] ?? first);
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const starts = p2pPorts.map((p2pPort, i) => {
      const [mirrorPort = 0, statusPort = 0, peerPort = 0] = ports.slice(i * PORTS_EACH);
      const name = `node-${i + 1}`;
      const others = p2pPorts.filter((port) => port !== p2pPort).map((port) => `127.0.0.1:${port}`);
      const settings = {
        'node.name': name,
        'store.path': path.join(directory, name),
        'store.min-free': '1%',
        'store.scrub-rate': '0',
        'mirror.listen': `127.0.0.1:${mirrorPort}`,
        'status.listen': `127.0.0.1:${statusPort}`,
        'tags.max-age': '1h',
        'log.level': log === undefined ? 'fatal' : 'info',
        registries: JSON.stringify(options.registries),
        ...(count === 1
          ? {}
          : {
              'peer.listen': `127.0.0.1:${peerPort}`,
              'p2p.listen': `/ip4/127.0.0.1/tcp/${p2pPort}`,
              'discovery.kind': 'static',
              'discovery.peers': others.join(','),
              'cluster.secret-file': secretFile,
            }),
      };
      const flags = Object.entries(settings).map(([key, value]) => `--${key}=${value}`);
      const onLine = (line: string): void => {
        if (log !== undefined) appendFileSync(log, `${withNode(line, name)}\n`);
      };
      return AgentProcess.start({ name, entry: options.entry, mirrorPort, statusPort, flags, onLine }, either);
    });
    const settled = await Promise.allSettled(
      starts.map((started) =>
        started.catch((error: unknown) => {
          failed.abort(error);
          throw error;
        }),
      ),
    );
    const agents = new Agents(settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])));
    if (agents.all.length < count) {
      await agents[Symbol.asyncDispose]();
      signal.throwIfAborted();
      throw failed.signal.reason;
    }
    return agents;
  }

  /** @returns how long it took until each had found all others, in ms; undefined if they did not in time. */
  async untilTogether(signal: AbortSignal): Promise<number | undefined> {
    const startedMs = performance.now();
    while (performance.now() - startedMs < TOGETHER_MS) {
      const statuses = await Promise.all(this.all.map((agent) => agent.status(signal)));
      if (statuses.every((status) => status?.peers.length === this.all.length - 1)) {
        return performance.now() - startedMs;
      }
      await sleep(50, undefined, { signal });
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((agent) => agent.kill()));
  }
}

/** A line of JSON gets the name as its first field; anything else gets it in front. */
function withNode(line: string, name: string): string {
  return line.startsWith('{') ? `{"node":${JSON.stringify(name)},${line.slice(1)}` : `${name}: ${line}`;
}
