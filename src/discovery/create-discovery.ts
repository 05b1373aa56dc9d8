import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { formatListenAddress, type ListenAddress } from '../config/listen-address.ts';
import { parseServiceName } from '../config/service-name.ts';
import { systemCode, WindlassError } from '../errors.ts';
import type { Timers } from '../kubernetes/timers.ts';
import type { Discovery } from './discovery.ts';
import { DnsDiscovery } from './dns-discovery.ts';
import { KubernetesDiscovery } from './kubernetes-discovery.ts';
import { ownAddresses } from './own-addresses.ts';
import { StaticDiscovery } from './static-discovery.ts';

/** Which namespace a Pod is in, as the kubelet writes it. */
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** As in the settings, below `discovery`. */
export interface DiscoverySettings {
  readonly kind: 'none' | 'static' | 'dns' | 'kubernetes';
  readonly peers: readonly ListenAddress[];
  readonly dns: { readonly name: string; readonly port: number };
  readonly kubernetes: { readonly service: string; readonly port: number | string };
}

export interface DiscoveryOptions {
  /** `node.name`. */
  readonly nodeName: string;
  readonly timers: Timers;
  readonly logger: Logger;
  /** For tests: what stands for `/` of this agent's Pod. */
  readonly podRoot?: string | undefined;
}

/**
 * Undefined for `none`: the agent is alone.
 * @throws INVALID_SETTINGS for `kubernetes` outside of a Pod
 */
export function createDiscovery(settings: DiscoverySettings, options: DiscoveryOptions): Discovery | undefined {
  const { kind, peers, dns, kubernetes } = settings;
  switch (kind) {
    case 'none':
      return undefined;
    case 'static':
      return new StaticDiscovery(peers.map(formatListenAddress));
    case 'dns':
      return new DnsDiscovery(dns.name, dns.port, { logger: options.logger });
    case 'kubernetes':
      return createKubernetes(kubernetes, options);
  }
}

function createKubernetes({ service, port }: DiscoverySettings['kubernetes'], options: DiscoveryOptions): Discovery {
  for (const variable of ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT']) {
    if (process.env[variable]) continue;
    throw invalid(
      `discovery.kind = "kubernetes": there is no variable ${variable}, which every Pod has; outside of one use static or dns`,
    );
  }
  const { podRoot = '', ...rest } = options;
  const { namespace = podNamespace(podRoot, service), name } = parseServiceName(service) ?? {};
  if (name === undefined) throw invalid(`discovery.kubernetes.service = "${service}": write namespace/name`);
  const loadAccess = async () => new (await import('../kubernetes/api-access.ts')).ApiAccess(podRoot);
  return new KubernetesDiscovery({ ...rest, namespace, service: name, port, ownAddresses: ownAddresses(), loadAccess });
}

function podNamespace(podRoot: string, service: string): string {
  const path = `${podRoot}${NAMESPACE_FILE}`;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw invalid(
      `discovery.kubernetes.service = "${service}": the Pod's namespace is not known (${path}: ${systemCode(cause)}); write namespace/name`,
      cause,
    );
  }
}

function invalid(message: string, cause?: unknown): WindlassError {
  return new WindlassError('INVALID_SETTINGS', message, { cause });
}
