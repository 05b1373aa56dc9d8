import type { Image } from '../../support/image.ts';
import { pushImage } from '../../support/push.ts';
import { type LoggedRequest, RealRegistry } from '../../support/real-registry.ts';
import type { Scratch } from '../../support/scratch.ts';
import type { Host } from './network.ts';

const PORT = 5000;

/** What was asked of upstream, by the registry's own access log. */
export interface UpstreamReport {
  /** GETs of agents by blob or manifest: its digest or tag → how many. */
  readonly gets: ReadonlyMap<string, number>;
  /** Body bytes sent to agents. */
  readonly agentBytes: number;
  /** Body bytes sent to others: runtimes that gave up on their agents. */
  readonly otherBytes: number;
  /** The same by who asked, its address. */
  readonly otherBytesOf: ReadonlyMap<string, number>;
  /** How often agents asked for a tag, by HEAD or GET. */
  readonly tagChecks: number;
}

/** Upstream: a real docker-registry on a host of its own. */
export class LabRegistry {
  readonly registry: RealRegistry;
  /** For hosts of the lab. */
  readonly url: string;

  private constructor(registry: RealRegistry, url: string) {
    this.registry = registry;
    this.url = url;
  }

  static async start(scratch: Scratch, host: Host, proxyOf?: string): Promise<LabRegistry> {
    const network = { namespace: host.namespace, address: host.outside, port: PORT };
    const registry = await RealRegistry.start(scratch, { network, ...(proxyOf === undefined ? {} : { proxyOf }) });
    return new LabRegistry(registry, `http://${host.address}:${PORT}`);
  }

  /** Over the network that is neither counted nor limited; the log then starts afresh. */
  async push(repository: string, tag: string, image: Image): Promise<void> {
    await pushImage(this.registry.url, repository, tag, image);
    await this.registry.forget();
  }

  /** @param repository of that alone: an answer to a node that was cut off is logged when it ends, and that may be much later. */
  async report(repository?: string): Promise<UpstreamReport> {
    const all = await this.registry.requests();
    const requests = repository === undefined ? all : all.filter(({ path }) => path.startsWith(`/v2/${repository}/`));
    const ofAgents = requests.filter(isAgents);
    const gets = new Map<string, number>();
    for (const { method, path } of ofAgents) {
      if (method !== 'GET') continue;
      const name = lastSegment(path);
      gets.set(name, (gets.get(name) ?? 0) + 1);
    }
    const ofOthers = requests.filter((request) => !isAgents(request));
    const byAddress = Map.groupBy(ofOthers, ({ remoteAddress }) => remoteAddress);
    return {
      gets,
      agentBytes: bytesOf(ofAgents),
      otherBytes: bytesOf(ofOthers),
      otherBytesOf: new Map([...byAddress].map(([address, asked]) => [address, bytesOf(asked)])),
      tagChecks: ofAgents.filter(({ path }) => /\/manifests\/[^:]+$/.test(path)).length,
    };
  }
}

function isAgents({ userAgent }: LoggedRequest): boolean {
  return userAgent.startsWith('windlass/');
}

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function bytesOf(requests: readonly LoggedRequest[]): number {
  // What a HEAD's answer says of its length is logged as 0: only bodies count.
  return requests.filter(({ method }) => method === 'GET').reduce((sum, { bytes }) => sum + bytes, 0);
}
