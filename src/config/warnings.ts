import { formatListenAddress, isLoopback } from './listen-address.ts';
import type { Settings } from './settings.ts';

/** What is allowed, and more open than it may look. What `credentials` open, the agent itself says at start. */
export function warningsOf(settings: Settings): string[] {
  const inClear = settings.registries
    .filter(({ credentials, endpoint }) => credentials !== undefined && endpoint?.startsWith('http:'))
    .map(({ host }) => `registries: the credentials of ${host} are sent over http, readable on the way`);
  const exposed = settings.mirror.listen
    .filter((address) => !isLoopback(address))
    .map(
      (address) =>
        `mirror.listen: ${formatListenAddress(address)} is open to other machines; they can pull all that the agent can`,
    );
  const { discovery, cluster } = settings;
  const swarm = [
    ...(discovery.kind !== 'none' && cluster.insecure
      ? ['cluster.insecure: whoever reaches the ports of this agent is a member of the cluster']
      : []),
    ...(discovery.kind === 'none' &&
    (discovery.peers.length > 0 || discovery.dns.name !== '' || discovery.kubernetes.service !== '')
      ? ['discovery.kind is none: the peers that are named below discovery are not looked for']
      : []),
  ];
  return [...inClear, ...exposed, ...swarm];
}
