import type { Logger } from 'pino';
import { formatListenAddress, type ListenAddress } from '../config/listen-address.ts';
import type { Discovery } from './discovery.ts';
import { DnsDiscovery } from './dns-discovery.ts';
import { StaticDiscovery } from './static-discovery.ts';

/** As in the settings, below `discovery`. */
export interface DiscoverySettings {
  readonly kind: 'none' | 'static' | 'dns';
  readonly peers: readonly ListenAddress[];
  readonly dns: { readonly name: string; readonly port: number };
}

/** Undefined for `none`: the agent is alone. */
export function createDiscovery(
  { kind, peers, dns }: DiscoverySettings,
  options: { readonly logger: Logger },
): Discovery | undefined {
  switch (kind) {
    case 'none':
      return undefined;
    case 'static':
      return new StaticDiscovery(peers.map(formatListenAddress));
    case 'dns':
      return new DnsDiscovery(dns.name, dns.port, options);
  }
}
