import { mkdir, writeFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { type Agent, createAgent } from '../../src/agent/agent.ts';
import { loadSettings } from '../../src/config/load-settings.ts';

export interface InProcessOptions {
  /** Its own: configuration and store. */
  readonly folder: string;
  /** By section, laid over the test's own. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly wireVersion?: number;
  /** What stands for `/` of its Pod. */
  readonly podRoot?: string;
}

/** An agent within this process, as `createAgent` makes it: for what no process shows, or when there are very many. */
export class InProcessAgent {
  readonly agent: Agent;
  /** What it logged. */
  readonly logs: Record<string, unknown>[] = [];

  private constructor(makeAgent: (logs: Record<string, unknown>[]) => Agent) {
    this.agent = makeAgent(this.logs);
  }

  /** Not started yet. */
  static async create({ folder, settings, ...rest }: InProcessOptions): Promise<InProcessAgent> {
    await mkdir(folder, { recursive: true });
    const sections: Record<string, unknown> = {
      mirror: { listen: ['127.0.0.1:0'] },
      peer: { listen: '127.0.0.1:0' },
      status: { listen: '127.0.0.1:0' },
      store: { path: `${folder}/store`, maxSize: '1GiB', minFree: '1%' },
      log: { level: 'info' },
    };
    for (const [name, value] of Object.entries(settings)) {
      const own = sections[name];
      sections[name] = isSection(own) && isSection(value) ? { ...own, ...value } : value;
    }
    const config = `${folder}/windlass.yaml`;
    await writeFile(config, stringify(sections));
    const loaded = await loadSettings({ flags: ['--config', config], env: {}, cwd: folder });
    return new InProcessAgent((logs) => {
      const logger = pino({ level: loaded.settings.log.level }, keep(logs));
      return createAgent(loaded.settings, { logger, ...rest });
    });
  }

  /** As AgentProcess has it. */
  get mirrorUrl(): string {
    return `http://${this.agent.mirrorAddresses[0]}`;
  }

  /** The sum of a metric over all of its samples. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.agent.statusAddress}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

const MAX_LOGS = 10_000;

function keep(logs: Record<string, unknown>[]): Writable {
  return new Writable({
    write(line: Buffer, _encoding, done) {
      if (logs.length < MAX_LOGS) logs.push(JSON.parse(line.toString()) as Record<string, unknown>);
      done();
    },
  });
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
