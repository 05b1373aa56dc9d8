import { mkdir, writeFile } from 'node:fs/promises';
import { which } from './commands.ts';
import { Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';
import { inNamespace } from './in-namespace.ts';
import type { Scratch } from './scratch.ts';

/** One answered request, from the registry's access log. */
export interface LoggedRequest {
  readonly method: string;
  /** Path with query. */
  readonly uri: string;
  readonly path: string;
  readonly status: number;
  /** Body bytes that were sent. */
  readonly bytes: number;
  readonly userAgent: string;
  /** Who asked, without port. */
  readonly remoteAddress: string;
}

export interface RealRegistryOptions {
  /** Basic authentication, as USER and PASSWORD below. */
  readonly authenticated?: boolean;
  /** A registry that it is a pull-through cache of; nothing can be pushed then. */
  readonly proxyOf?: string;
  /**
   * A network namespace to run in, and its address that we reach; else 127.0.0.1 of ours. With a port it listens there
   * on all of the namespace's addresses, else on that one alone.
   */
  readonly network?: { readonly namespace: string; readonly address: string; readonly port?: number };
}

/** Whoever may in where `authenticated` is set; the hash is bcrypt's of the password, at its lowest cost. */
export const REGISTRY_USER = 'windlass';
export const REGISTRY_PASSWORD = 'hoist';
const HTPASSWD = `${REGISTRY_USER}:$2b$04$yEXFktpS/Vitm2JMyqemhObBK5s8lasXPa14UZNvxWf.0mloY8Axy\n`;

const ACCESS_LINE = /^(\S+) \S+ \S+ \[[^\]]+\] "(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+) "[^"]*" "([^"]*)"/;

/** Debian's docker-registry (distribution 2.8) on a port of 127.0.0.1, its storage in the scratch folder. */
export class RealRegistry {
  /** Why it cannot run here, or undefined. */
  static readonly missing = which('docker-registry') === undefined ? 'docker-registry is not installed' : undefined;
  static #count = 0;

  readonly #daemon: Daemon;
  readonly #requests: LoggedRequest[];
  readonly #host: string;
  readonly port: number;

  private constructor(daemon: Daemon, requests: LoggedRequest[], host: string, port: number) {
    this.#daemon = daemon;
    this.#requests = requests;
    this.#host = host;
    this.port = port;
  }

  static async start(scratch: Scratch, options: RealRegistryOptions = {}): Promise<RealRegistry> {
    const command = which('docker-registry');
    if (command === undefined) throw new Error('docker-registry is not installed');
    RealRegistry.#count += 1;
    const host = options.network?.address ?? '127.0.0.1';
    const port = options.network?.port;
    const listen = port === undefined ? `${host}:0` : `0.0.0.0:${port}`;
    const folder = scratch.join(`registry-${RealRegistry.#count}`);
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/htpasswd`, HTPASSWD);
    const config = {
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: false } },
      storage: { filesystem: { rootdirectory: `${folder}/data` }, delete: { enabled: true } },
      http: { addr: listen, secret: 'only one process' },
      ...(options.authenticated === true ? { auth: { htpasswd: { realm: 'test', path: `${folder}/htpasswd` } } } : {}),
    };
    if (options.proxyOf !== undefined) Object.assign(config, { proxy: { remoteurl: options.proxyOf } });
    await writeFile(`${folder}/config.yml`, JSON.stringify(config)); // JSON is YAML
    const requests: LoggedRequest[] = [];
    const [program, args] = inNamespace(options.network?.namespace, command, ['serve', `${folder}/config.yml`]);
    const daemon = new Daemon(scratch, 'docker-registry', program, args, {
      env: { OTEL_TRACES_EXPORTER: 'none' },
      onLine: (line) => {
        const request = parseAccessLine(line);
        if (request !== undefined) requests.push(request);
      },
    });
    const listening = await daemon.ready(() => {
      for (const line of daemon.lines) {
        const match = /listening on [\d.:[\]]+:(\d+)/.exec(line);
        if (match !== null) return Number(match[1]);
      }
      return undefined;
    });
    return new RealRegistry(daemon, requests, host, listening);
  }

  /** Of the process itself. */
  get pid(): number {
    return this.#daemon.pid;
  }

  get url(): string {
    return `http://${this.authority}`;
  }

  get authority(): string {
    return `${this.#host}:${this.port}`;
  }

  /** Forgets what was asked up to now; to be called when all is quiet. */
  async forget(): Promise<void> {
    await this.requests();
    this.#requests.length = 0;
  }

  /** What was asked since the start or `forget`, in the order in which the answers ended. */
  async requests(): Promise<readonly LoggedRequest[]> {
    // The log is written after the answer. A request of our own, and another once that is in the log, come last.
    for (const round of ['a', 'b']) {
      const mark = `/v2/?mark=${round}${Math.random()}`;
      await (await fetch(this.url + mark)).arrayBuffer();
      await eventually(() => this.#requests.some((request) => request.uri === mark), {
        what: 'the access log of docker-registry',
      });
    }
    return this.#requests.filter((request) => !request.uri.startsWith('/v2/?mark='));
  }

  /** How often each blob and manifest was asked for: `GET blob sha256:…` → 1, `HEAD manifest latest` → 2, … */
  async counts(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { method, path } of await this.requests()) {
      const match = /^\/v2\/.+\/(blob|manifest)s\/([^/]+)$/.exec(path);
      const key = match === null ? `${method} ${path}` : `${method} ${match[1]} ${match[2]}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  }

  /** Body bytes of all answers. */
  async sentBytes(): Promise<number> {
    return (await this.requests()).reduce((sum, request) => sum + request.bytes, 0);
  }

  /** Its output, for a failing test to show. */
  get daemon(): Daemon {
    return this.#daemon;
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }
}

function parseAccessLine(line: string): LoggedRequest | undefined {
  const match = ACCESS_LINE.exec(line);
  if (match === null) return undefined;
  const [, remoteAddress = '', method = '', uri = '', status, bytes, userAgent = ''] = match;
  const path = uri.split('?', 1)[0] ?? uri;
  return { method, uri, path, status: Number(status), bytes: Number(bytes), userAgent, remoteAddress };
}
