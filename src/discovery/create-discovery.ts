import type { Logger } from 'pino';
import { formatListenAddress, type ListenAddress } from '../config/listen-address.ts';
import { parseServiceName } from '../config/service-name.ts';
import { WindlassError } from '../errors.ts';
import { accessOf, podNamespace, requirePod } from '../kubernetes/pod.ts';
import type { Timers } from '../time/timers.ts';
import type { Discovery } from './discovery.ts';
import { DnsDiscovery } from './dns-discovery.ts';
import { KubernetesDiscovery } from './kubernetes-discovery.ts';
import { ownAddresses } from './own-addresses.ts';
import { StaticDiscovery } from './static-discovery.ts';

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
  requirePod('discovery.kind = "kubernetes"', 'outside of one use static or dns');
  const { podRoot = '', ...rest } = options;
  const lead = `discovery.kubernetes.service = "${service}"`;
  const mend = 'write namespace/name';
  const { name, namespace = podNamespace(podRoot, lead, mend) } = parseServiceName(service) ?? {};
  if (name === undefined) throw new WindlassError('INVALID_SETTINGS', `${lead}: ${mend}`);
  const loadAccess = accessOf(podRoot);
  return new KubernetesDiscovery({ ...rest, namespace, service: name, port, ownAddresses: ownAddresses(), loadAccess });
}
