import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { freePorts } from '../../src/demo/free-ports.ts';
import { Daemon } from './daemon.ts';
import { inNamespace } from './in-namespace.ts';
import type { Scratch } from './scratch.ts';

/** Mirror, peer, status: the defaults of the settings. */
const STANDARD_PORTS = [5050, 5051, 5053];

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const NO_GOSSIP = new URL('./no-gossip.ts', import.meta.url).href;

/** What in the environment of the tests would be settings of the agent. */
const WITHOUT_SETTINGS: NodeJS.ProcessEnv = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => /^WINDLASS_|^(?:https?|no|all)_proxy$/i.test(name))
    .map((name) => [name, undefined]),
);

export interface AgentOptions {
  /** The allow-list: host → endpoint. */
  readonly registries?: Readonly<Record<string, string>>;
  /** Settings by section, laid over the test's own: `{ tags: { maxAge: '1s' } }`; `registries` may be a list here. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Where blobs are kept; by default a folder of its own. */
  readonly storePath?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** False: all that it publishes is lost. By default as `WITHOUT_GOSSIP=1` has it, for whole suites. */
  readonly gossip?: boolean;
  /** Options of node itself: `--max-old-space-size=128`. */
  readonly nodeArguments?: readonly string[];
  /**
   * A network namespace to run in, and its address that we reach. There it takes the standard ports: the mirror on
   * 127.0.0.1 and on that address, the status on that address. It resolves names by that file, if there is one.
   */
  readonly network?: { readonly namespace: string; readonly address: string; readonly resolvConf?: string | undefined };
  /** False: only prepared, until `start`. */
  readonly started?: boolean;
}

/**
 * A real agent in a process of its own, `node src/main.ts agent --config FILE`. Ports and store stay the same when
 * it is started again after `kill`.
 */
export class AgentProcess {
  static #count = 0;

  readonly storePath: string;
  readonly mirrorPort: number;
  readonly statusPort: number;
  readonly #host: string;
  readonly #scratch: Scratch;
  readonly #configPath: string;
  readonly #options: AgentOptions;
  #daemon: Daemon | undefined;
  readonly #daemons: Daemon[] = [];

  private constructor(
    scratch: Scratch,
    options: AgentOptions,
    configPath: string,
    storePath: string,
    at: { readonly host: string; readonly mirror: number; readonly status: number },
  ) {
    this.#scratch = scratch;
    this.#options = options;
    this.#configPath = configPath;
    this.storePath = storePath;
    this.#host = at.host;
    this.mirrorPort = at.mirror;
    this.statusPort = at.status;
  }

  /** Starts it and waits until it is ready (unless it is to be started later). */
  static async start(scratch: Scratch, options: AgentOptions = {}): Promise<AgentProcess> {
    AgentProcess.#count += 1;
    const folder = scratch.join(`agent-${AgentProcess.#count}`);
    const storePath = options.storePath ?? `${folder}/store`;
    await mkdir(folder, { recursive: true });
    const { network } = options;
    const host = network?.address ?? '127.0.0.1';
    const [mirror = 0, peer = 0, status = 0] = network === undefined ? await freePorts(3) : STANDARD_PORTS;
    const sections: Record<string, unknown> = {
      node: { name: 'test' },
      mirror: { listen: [...new Set(['127.0.0.1', host])].map((own) => `${own}:${mirror}`) },
      peer: { listen: `127.0.0.1:${peer}` },
      status: { listen: `${host}:${status}` },
      store: { path: storePath, maxSize: '4GiB', minFree: '1%' },
      log: { level: 'debug', format: 'json' },
      registries: Object.entries(options.registries ?? {}).map(([host, endpoint]) => ({ host, endpoint })),
    };
    for (const [name, value] of Object.entries(options.settings ?? {})) {
      const own = sections[name];
      sections[name] = isSection(own) && isSection(value) ? { ...own, ...value } : value;
    }
    const configPath = `${folder}/windlass.yaml`;
    await writeFile(configPath, stringify(sections));
    const agent = new AgentProcess(scratch, options, configPath, storePath, { host, mirror, status });
    if (options.started !== false) await agent.start();
    return agent;
  }

  /** Starts it again after `kill` or `stop`. */
  async start(): Promise<void> {
    if (this.#daemon !== undefined && !this.#daemon.ended) throw new Error('the agent is running');
    const { nodeArguments = [], gossip = process.env.WITHOUT_GOSSIP !== '1' } = this.#options;
    const preloaded = gossip ? [] : ['--import', NO_GOSSIP];
    const args = [...preloaded, ...nodeArguments, MAIN, 'agent', '--config', this.#configPath];
    const { namespace, resolvConf } = this.#options.network ?? {};
    const command = inNamespace(namespace, process.execPath, args, resolvConf);
    const daemon = new Daemon(this.#scratch, 'agent', ...command, {
      env: { ...WITHOUT_SETTINGS, ...this.#options.env },
      // Longer than any grace period that the tests give it: it stops by itself.
      graceMs: 60_000,
    });
    this.#daemon = daemon;
    this.#daemons.push(daemon);
    await daemon.ready(async () => {
      const response = await fetch(`${this.statusUrl}/readyz`);
      await response.arrayBuffer();
      return response.ok;
    });
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('the agent was never started');
    return this.#daemon;
  }

  /** Its settings, for other commands. */
  get configPath(): string {
    return this.#configPath;
  }

  get running(): boolean {
    return this.#daemon !== undefined && !this.#daemon.ended;
  }

  get pid(): number {
    return this.daemon.pid;
  }

  get mirrorUrl(): string {
    return `http://${this.#host}:${this.mirrorPort}`;
  }

  get statusUrl(): string {
    return `http://${this.#host}:${this.statusPort}`;
  }

  /** All that it and its earlier starts have written, as far as it is kept. */
  log(): string {
    return this.#daemons.flatMap(({ lines }) => lines).join('\n');
  }

  /** Its log, one event each; what is no JSON (a crash) comes as `{ msg }`. */
  logs(): Record<string, unknown>[] {
    return this.daemon.lines.map((line) => {
      try {
        const event: unknown = JSON.parse(line);
        return isSection(event) ? event : { msg: line };
      } catch {
        return { msg: line };
      }
    });
  }

  async metricsText(): Promise<string> {
    const response = await fetch(`${this.statusUrl}/metrics`);
    if (!response.ok) throw new Error(`/metrics: ${response.status}`);
    return response.text();
  }

  /** The sum of a metric over all samples that have these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    let sum = 0;
    for (const line of (await this.metricsText()).split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null || match[1] !== name) continue;
      const held = match[2] ?? '';
      if (Object.entries(labels).every(([key, value]) => `,${held}`.includes(`,${key}="${value}"`))) {
        sum += Number(match[3]);
      }
    }
    return sum;
  }

  memory(): Promise<{ rssBytes: number; peakRssBytes: number }> {
    return this.daemon.memory();
  }

  /** SIGKILL waits for the end; other signals do not. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.daemon.kill(signal);
  }

  async stop(): Promise<void> {
    await this.daemon.stop();
  }
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
