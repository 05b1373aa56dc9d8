import type { CheckedValues } from './check-values.ts';
import type { Fault } from './fault.ts';
import type { Given } from './given.ts';
import { collide, formatListenAddress, type ListenAddress } from './listen-address.ts';
import { parseMultiaddr } from './multiaddr.ts';
import { matchesHostPattern, parseHostPattern } from './registry-host.ts';

/** Values that are right alone and wrong together. Settings that already have a fault are left out. */
export function findContradictions(checked: CheckedValues, given: ReadonlyMap<string, Given>): Fault[] {
  return [
    ...collidingListeners(checked, given),
    ...swarmFaults(checked, given),
    ...unlistedDefault(checked, given),
    ...registryFaults(given),
  ];
}

function collidingListeners({ settings, faulty }: CheckedValues, given: ReadonlyMap<string, Given>): Fault[] {
  // What agents listen on counts once they look for each other, or once somebody wrote it.
  const swarm = settings.discovery.kind !== 'none';
  const listeners: { key: string; setting: string; address: ListenAddress; written?: string }[] = [
    ...settings.mirror.listen.map((address, index) => ({
      key: settings.mirror.listen.length > 1 ? `mirror.listen[${index}]` : 'mirror.listen',
      setting: 'mirror.listen',
      address,
    })),
    ...(swarm || given.has('peer.listen')
      ? [{ key: 'peer.listen', setting: 'peer.listen', address: settings.peer.listen }]
      : []),
    ...(swarm || given.has('p2p.listen') ? p2pListeners(settings.p2p.listen) : []),
    { key: 'status.listen', setting: 'status.listen', address: settings.status.listen },
  ].filter(({ setting }) => !faulty.has(setting));

  return listeners.flatMap((second, index) =>
    listeners.slice(0, index).flatMap((first) => {
      if (!collide(first.address, second.address)) return [];
      // Blame what somebody wrote, not the default that it met.
      const [blamed, met] = given.has(second.setting) ? [second, first] : [first, second];
      const both = [first, second].some(({ address }) => address.host === '::' && address.v6Only !== true)
        ? ' ([::] takes IPv4 as well)'
        : '';
      return {
        key: blamed.key,
        origin: given.get(blamed.setting)?.origin,
        value: blamed.written ?? formatListenAddress(blamed.address),
        right: `it collides with ${met.key}, ${met.written ?? formatListenAddress(met.address)}${both}; give it another address or port`,
      };
    }),
  );
}

function p2pListeners(listen: readonly string[]) {
  return listen.flatMap((written, index) => {
    const address = parseMultiaddr(written);
    const key = listen.length > 1 ? `p2p.listen[${index}]` : 'p2p.listen';
    return address === undefined ? [] : [{ key, setting: 'p2p.listen', address, written }];
  });
}

/** What an agent needs before it looks for others. */
function swarmFaults({ settings, faulty }: CheckedValues, given: ReadonlyMap<string, Given>): Fault[] {
  const { discovery, cluster } = settings;
  const faults: Fault[] = [];
  const blame = (key: string, right: string, value?: unknown) => {
    faults.push({ key, origin: given.get(key)?.origin, value, right });
  };
  if (faulty.has('discovery.kind') || faulty.has('cluster.secretFile') || faulty.has('cluster.insecure')) return [];

  if (cluster.insecure && cluster.secretFile.length > 0) {
    blame('cluster.insecure', 'with it no secret counts; leave it out, or leave out cluster.secretFile', true);
  }
  if (discovery.kind === 'none') return faults;
  if (!cluster.insecure && cluster.secretFile.length === 0) {
    blame(
      'discovery.kind',
      'agents that look for each other need a secret: name its file in cluster.secretFile, or, where everybody who reaches the ports may be a member, set cluster.insecure: true',
      discovery.kind,
    );
  }
  if (discovery.kind === 'static' && discovery.peers.length === 0 && !faulty.has('discovery.peers')) {
    blame('discovery.kind', 'static needs discovery.peers, the host:port of other agents', discovery.kind);
  }
  if (discovery.kind === 'dns' && discovery.dns.name === '' && !faulty.has('discovery.dns.name')) {
    blame('discovery.kind', 'dns needs discovery.dns.name, the name to look up', discovery.kind);
  }
  const { service } = discovery.kubernetes;
  if (discovery.kind === 'kubernetes' && service === '' && !faulty.has('discovery.kubernetes.service')) {
    blame(
      'discovery.kind',
      'kubernetes needs discovery.kubernetes.service, the headless Service of the agents',
      discovery.kind,
    );
  }
  return faults;
}

/** Every request without a registry's name would be refused. Someone who did not ask for a default does not mind. */
function unlistedDefault({ settings, faulty }: CheckedValues, given: ReadonlyMap<string, Given>): Fault[] {
  const key = 'mirror.defaultRegistry';
  const host = settings.mirror.defaultRegistry;
  if (!given.has(key) || faulty.has(key) || faulty.has('registries')) return [];
  if (settings.registries.some((registry) => matchesHostPattern(registry.host, host))) return [];
  return [
    { key, origin: given.get(key)?.origin, value: host, right: 'it is not on the list `registries`; add it there' },
  ];
}

/** Looks at the entries as they were written, so that other faults in them hide nothing. */
function registryFaults(given: ReadonlyMap<string, Given>): Fault[] {
  const source = given.get('registries');
  if (source === undefined) return [];
  const entries = (Array.isArray(source.value) ? source.value : [source.value]).map(entryRecord);
  const hosts = entries.map(({ host }) => (typeof host === 'string' ? (parseHostPattern(host) ?? host) : undefined));
  return entries.flatMap((entry, index) => {
    const faults = entryFaults(entry);
    const first = hosts.indexOf(hosts[index]);
    if (hosts[index] !== undefined && first < index) {
      faults.push({ field: 'host', right: `it is listed twice (registries[${first}]); keep one` });
    }
    return faults.map(({ field, right, hidden }): Fault => {
      const fault = { key: `registries[${index}].${field}`, origin: source.origin, right };
      return hidden ? fault : { ...fault, value: entry[field] };
    });
  });
}

interface EntryFault {
  readonly field: string;
  readonly right: string;
  readonly hidden?: boolean;
}

function entryFaults(entry: Readonly<Record<string, unknown>>): EntryFault[] {
  const faults: EntryFault[] = [];
  const has = (field: string) => entry[field] !== undefined && entry[field] !== null;
  const { host, endpoint } = entry;

  if (has('clientCert') && !has('clientKey')) faults.push({ field: 'clientCert', right: 'give clientKey with it' });
  if (has('clientKey') && !has('clientCert')) faults.push({ field: 'clientKey', right: 'give clientCert with it' });
  if (typeof endpoint === 'string' && /^http:/i.test(endpoint)) {
    for (const field of ['ca', 'clientCert', 'clientKey'].filter(has)) {
      faults.push({ field, right: 'an http:// endpoint has no certificates; make it https://, or leave this out' });
    }
  }
  if (typeof host === 'string' && host.startsWith('*') && has('endpoint')) {
    faults.push({ field: 'endpoint', right: `${host} stands for many hosts, and an endpoint is one; leave it out` });
  }
  if (has('credentials')) {
    const right = credentialsFault(entryRecord(entry.credentials), host);
    if (right !== undefined) faults.push({ field: 'credentials', right, hidden: true });
  }
  return faults;
}

function credentialsFault(credentials: Readonly<Record<string, unknown>>, host: unknown): string | undefined {
  const [file, name, password] = ['dockerConfig', 'username', 'passwordFile'].map(
    (field) => credentials[field] !== undefined,
  );
  if (file && (name || password)) return 'give dockerConfig, or username and passwordFile, not both';
  if (name && !password) return 'username needs passwordFile';
  if (password && !name) return 'passwordFile needs username';
  if (!file && !name) return 'give dockerConfig, or username and passwordFile';
  // Any client could name a host of its own, and be sent the password.
  if (name && host === '*') return 'for host * the password would go to any host that a client names; use dockerConfig';
  return undefined;
}

function entryRecord(entry: unknown): Readonly<Record<string, unknown>> {
  if (typeof entry === 'string') return { host: entry };
  return typeof entry === 'object' && entry !== null ? { ...entry } : {};
}
