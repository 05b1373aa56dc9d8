import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import type {
  AgentState,
  LookupResult,
  WantedAgent,
  WantedLookup,
  WorkerRequest,
  WorkerUsage,
} from './in-process-agents-worker.ts';
import type { Scratch } from './scratch.ts';

const WORKER = fileURLToPath(new URL('./in-process-agents-worker.ts', import.meta.url));
/** Of discovery: how many agents' addresses are known beforehand. */
const SEEDS = 3;
const KEEPERS = 3;
const LONG_MS = 300_000;

export interface InProcessAgentsOptions {
  readonly agents: number;
  readonly processes: number;
  /** Small blobs that each agent, and no other, holds from the start. */
  readonly blobsEach: number;
}

/** Many agents on loopback, several to a process, that find each other by a static list and share a secret. */
export class InProcessAgents {
  readonly #options: InProcessAgentsOptions;
  readonly #workers: ChildProcess[] = [];

  private constructor(options: InProcessAgentsOptions) {
    this.#options = options;
  }

  /** Starts them all at once. */
  static async start(scratch: Scratch, options: InProcessAgentsOptions): Promise<InProcessAgents> {
    const { agents, processes, blobsEach } = options;
    const crowd = new InProcessAgents(options);
    const folder = scratch.join(`crowd-${randomBytes(4).toString('hex')}`);
    const secretFile = `${folder}-secret`;
    await writeFile(secretFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const wanted = (number: number, seeds: readonly string[]): WantedAgent => ({
      number,
      folder: `${folder}/${number}`,
      settings: {
        node: { name: `node-${number}` },
        cluster: { secretFile: [secretFile] },
        p2p: { listen: ['/ip4/127.0.0.1/tcp/0'] },
        discovery: { kind: 'static', peers: seeds },
        // What is looked at is the cluster.
        store: { path: `${folder}/${number}/store`, maxSize: '1GiB', minFree: '1%', scrubRate: '0' },
        log: { level: 'silent' },
        stop: { gracePeriod: '1s' },
      },
    });
    for (let index = 0; index < processes; index += 1) {
      const worker = fork(WORKER, { stdio: 'inherit', execArgv: [] });
      crowd.#workers.push(worker);
      scratch.defer(() => ended(worker));
    }
    const start = (worker: ChildProcess, own: readonly WantedAgent[]) =>
      ask<string[]>(worker, { type: 'start', agents: own, blobsEach });
    const [first] = crowd.#workers;
    const seeds: string[] = [];
    const share = Math.ceil(agents / processes);
    while (first !== undefined && seeds.length < Math.min(SEEDS, share)) {
      // The first one knows only itself.
      const known = seeds.length > 0 ? seeds : ['127.0.0.1:1'];
      seeds.push(...(await start(first, [wanted(seeds.length, known)])));
    }
    await Promise.all(
      crowd.#workers.map((worker, index) => {
        const own: WantedAgent[] = [];
        const end = Math.min(agents, (index + 1) * share);
        for (let number = Math.max(seeds.length, index * share); number < end; number += 1) {
          own.push(wanted(number, seeds));
        }
        return start(worker, own);
      }),
    );
    return crowd;
  }

  /** Resolves when each knows all the others, and the index all that is held. */
  async settled(): Promise<void> {
    const { agents, blobsEach } = this.#options;
    const pairs = agents * blobsEach * Math.min(agents, KEEPERS);
    await eventually(
      async () => {
        const states = await this.states();
        const entries = states.reduce((sum, { indexEntries }) => sum + indexEntries, 0);
        return states.every(({ others }) => others === agents - 1) && entries >= pairs;
      },
      { timeoutMs: LONG_MS, everyMs: 500, what: 'the roster and the index to be whole' },
    );
  }

  /** By number. */
  async states(): Promise<AgentState[]> {
    const states = await this.#askAll<AgentState[]>({ type: 'state' });
    return states.flat().sort((a, b) => a.number - b.number);
  }

  /** For each agent, whom it takes for the keepers of each key. */
  async keepers(keys: readonly string[]): Promise<string[][]> {
    return (await this.#askAll<string[][]>({ type: 'keepers', keys })).flat();
  }

  /** By each agent so many, of blobs that others hold; those of one process one after the other. */
  async lookups(each: number): Promise<LookupResult[]> {
    const { agents, blobsEach } = this.#options;
    const lookups: WantedLookup[] = [];
    for (let nth = 0; nth < each; nth += 1) {
      for (let agent = 0; agent < agents; agent += 1) {
        const holder = (agent + 1 + Math.floor(Math.random() * (agents - 1))) % agents;
        lookups.push({ agent, holder, blob: Math.floor(Math.random() * blobsEach) });
      }
    }
    return (await this.#askAll<LookupResult[]>({ type: 'lookups', lookups })).flat();
  }

  /** Of each process. */
  usage(): Promise<WorkerUsage[]> {
    return this.#askAll({ type: 'usage' });
  }

  async stop(): Promise<void> {
    await this.#askAll({ type: 'stop' });
    await Promise.all(this.#workers.map(ended));
  }

  #askAll<T>(request: WorkerRequest): Promise<T[]> {
    return Promise.all(this.#workers.map((worker) => ask<T>(worker, request)));
  }
}

function ask<T>(worker: ChildProcess, request: WorkerRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`a process of agents ended (${code})`));
    worker.once('exit', onExit);
    worker.once('message', (message: { readonly answer?: T; readonly error?: string }) => {
      worker.off('exit', onExit);
      if (message.error === undefined) resolve(message.answer as T);
      else reject(new Error(message.error));
    });
    worker.send(request);
  });
}

async function ended(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  worker.kill('SIGKILL');
  await exited;
}
