import { mkdir, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { freePorts } from '../../src/demo/free-ports.ts';
import { which } from './commands.ts';
import { Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';
import type { Scratch } from './scratch.ts';

/** Seconds between scrapes, between evaluations of rules, and that a scrape may take: this machine may be busy. */
const INTERVAL_S = 5;

interface Target {
  /** `host:port` */
  readonly address: string;
  /** What service discovery and relabeling would add. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface PrometheusOptions {
  /** Their label `job` is `windlass`. */
  readonly targets: readonly Target[];
  readonly rulePaths: readonly string[];
}

export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** One, or one for each step. */
  readonly values: readonly number[];
}

export interface RuleState {
  readonly name: string;
  readonly type: 'alerting' | 'recording';
  readonly query: string;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
  /** RFC 3339. */
  readonly lastEvaluation: string;
  readonly state?: 'firing' | 'pending' | 'inactive';
}

interface AlertState {
  readonly state: 'firing' | 'pending';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Result {
  readonly metric: Readonly<Record<string, string>>;
  readonly value?: readonly [number, string];
  readonly values?: readonly (readonly [number, string])[];
}

/** Debian's prometheus on a port of 127.0.0.1, its data in the scratch folder. */
export class Prometheus {
  /** Why it cannot run here, or undefined. */
  static readonly missing = which('prometheus') === undefined ? 'prometheus is not installed' : undefined;

  readonly #url: string;
  readonly #targets: number;
  readonly #startedAtS = Date.now() / 1000;
  readonly #daemon: Daemon;

  private constructor(url: string, targets: number, daemon: Daemon) {
    this.#url = url;
    this.#targets = targets;
    this.#daemon = daemon;
  }

  /** Starts it, and waits until it has scraped every target. */
  static async start(scratch: Scratch, { targets, rulePaths }: PrometheusOptions): Promise<Prometheus> {
    const [port] = await freePorts(1);
    const folder = scratch.join('prometheus');
    await mkdir(folder, { recursive: true });
    const config = {
      global: {
        scrape_interval: `${INTERVAL_S}s`,
        scrape_timeout: `${INTERVAL_S}s`,
        evaluation_interval: `${INTERVAL_S}s`,
      },
      rule_files: rulePaths,
      scrape_configs: [
        {
          job_name: 'windlass',
          static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
        },
      ],
    };
    await writeFile(`${folder}/prometheus.yml`, stringify(config));
    const daemon = new Daemon(scratch, 'prometheus', 'prometheus', [
      `--config.file=${folder}/prometheus.yml`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    const url = `http://127.0.0.1:${port}`;
    await daemon.ready(async () => (await fetch(`${url}/-/ready`)).ok);
    const prometheus = new Prometheus(url, targets.length, daemon);
    await prometheus.scraped();
    return prometheus;
  }

  /** Resolves when every target has been scraped twice from now on. */
  async scraped(): Promise<void> {
    const fromS = Date.now() / 1000;
    await eventually(
      async () => {
        // Not timestamp(up == 1): what was compared has the time of the query.
        const [times, up] = [await this.query('timestamp(up)'), await this.query('up == 1')];
        const late = times.every(({ values: [atS = 0] }) => atS > fromS + INTERVAL_S);
        return late && times.length === this.#targets && up.length === this.#targets;
      },
      { timeoutMs: 120_000, everyMs: 500, what: () => `targets to be scraped; it said:\n${this.#daemon.tail()}` },
    );
  }

  /** At this moment. @throws what it says of a query that it refuses. */
  async query(query: string): Promise<Series[]> {
    return seriesOf(await this.#get<{ result: Result[] }>('query', { query }));
  }

  /** From its start to now. */
  async queryRange(query: string): Promise<Series[]> {
    const range = { start: String(this.#startedAtS), end: String(Date.now() / 1000), step: String(INTERVAL_S) };
    return seriesOf(await this.#get<{ result: Result[] }>('query_range', { query, ...range }));
  }

  async rules(): Promise<readonly RuleState[]> {
    const { groups } = await this.#get<{ groups: { rules: RuleState[] }[] }>('rules', {});
    return groups.flatMap(({ rules }) => rules);
  }

  /** The pending and firing ones, as they are told to people. */
  async alerts(): Promise<readonly AlertState[]> {
    return (await this.#get<{ alerts: AlertState[] }>('alerts', {})).alerts;
  }

  async #get<T>(what: string, parameters: Readonly<Record<string, string>>): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${what}?${new URLSearchParams(parameters)}`);
    const answer = (await response.json()) as { status: string; error?: string; data: T };
    if (answer.status !== 'success') throw new Error(`${parameters.query ?? what}: ${answer.error}`);
    return answer.data;
  }
}

function seriesOf({ result }: { readonly result: readonly Result[] }): Series[] {
  return result.map(({ metric, value, values = value === undefined ? [] : [value] }) => ({
    labels: metric,
    values: values.map(([, text]) => Number(text)),
  }));
}
