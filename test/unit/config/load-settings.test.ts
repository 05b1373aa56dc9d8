import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkValues } from '../../../src/config/check-values.ts';
import { DEFAULT_REGISTRIES } from '../../../src/config/default-registries.ts';
import { loadSettings } from '../../../src/config/load-settings.ts';
import { chooseStorePath } from '../../../src/config/store-path.ts';
import { hasCode } from '../../../src/errors.ts';

interface Written {
  readonly flags?: readonly string[];
  readonly env?: Record<string, string>;
  readonly yaml?: string;
}

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'windlass-settings-'));
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

let files = 0;
async function load({ flags = [], env = {}, yaml }: Written) {
  const config: string[] = [];
  if (yaml !== undefined) {
    files += 1;
    await writeFile(join(cwd, `${files}.yaml`), yaml);
    config.push('--config', `${files}.yaml`);
  }
  // Without a path of their own they would make the default one.
  const path = /store\.path|STORE_PATH|path:/.test(JSON.stringify([flags, env, yaml])) ? [] : ['--store.path=store'];
  return loadSettings({ flags: [...config, ...path, ...flags], env, cwd });
}

/** One line a fault, the name of the file replaced. */
async function faultsOf(written: Written): Promise<string[]> {
  const error = await load(written).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!hasCode(error, 'INVALID_SETTINGS')) throw new Error('no faults were found', { cause: error });
  const [title = '', ...lines] = error.message.split('\n');
  expect(title).toBe(lines.length === 1 ? 'a setting cannot be used:' : `${lines.length} settings cannot be used:`);
  return lines.map((line) => line.trim().replace(/\d+\.yaml/, 'FILE'));
}

/** Flags of an agent that looks for others. */
const SWARM = ['--discovery.kind=static', '--discovery.peers=10.0.0.3:5052', '--cluster.secret-file=secret'];

const settingsOf = async (written: Written) => (await load(written)).settings;

test('with nothing given everything has its default', () => {
  expect(checkValues(new Map()).settings).toEqual({
    node: { name: hostname(), zone: '', startupTaint: '' },
    mirror: {
      listen: [
        { host: '127.0.0.1', port: 5050 },
        { host: '::1', port: 5050 },
      ],
      defaultRegistry: 'docker.io',
      headersTimeout: 20_000,
      writeTimeout: 120_000,
      maxConnections: 8192,
    },
    peer: {
      listen: { host: '0.0.0.0', port: 5051 },
      announce: undefined,
      encryption: 'tls',
      maxUploads: 32,
      uploadRate: 0,
      connectTimeout: 2000,
      firstByteTimeout: 2000,
      stallTimeout: 2000,
    },
    p2p: { listen: ['/ip4/0.0.0.0/tcp/5052'], announce: [] },
    discovery: {
      kind: 'none',
      peers: [],
      dns: { name: '', port: 5052 },
      kubernetes: { service: '', port: 5052 },
    },
    cluster: { secretFile: [], insecure: false },
    claims: { timeout: 2000 },
    containerd: {
      preset: 'default',
      certsDir: '',
      configFile: '',
      socket: '',
      contentDir: '',
      namespace: 'k8s.io',
      keepTwice: true,
      shareWhenDown: false,
    },
    status: { listen: { host: '127.0.0.1', port: 5053 }, names: 'local' },
    store: { path: '/var/lib/windlass', maxSize: 20 * 2 ** 30, minFree: 0.2, scrubRate: 8 * 2 ** 20 },
    log: { level: 'info', format: 'json' },
    tags: { maxAge: 30_000, staleWhenDown: true },
    ingest: { finishLimit: 20 * 2 ** 30, partialMaxAge: 86_400_000 },
    upstream: {
      proxy: '',
      ca: [],
      maxRequests: 32,
      connectTimeout: 5000,
      headersTimeout: 60_000,
      stallTimeout: 15_000,
    },
    stop: { gracePeriod: 20_000 },
    registries: DEFAULT_REGISTRIES.map((host) => ({ host })),
  });
});

test("the issue's example is understood", async () => {
  const { settings, warnings } = await load({
    yaml: `
node: { name: n1, zone: "" }
mirror: { listen: "127.0.0.1:5050", defaultRegistry: docker.io }
peer: { listen: "0.0.0.0:5051" }
status: { listen: "127.0.0.1:5053" }
store: { path: /var/lib/windlass, maxSize: 20GiB, minFree: 20% }
log: { level: info, format: json }
tags: { maxAge: 30s, staleWhenDown: true }
upstream: { proxy: "", ca: [] }
registries:
  - host: docker.io
  - host: registry.local:5000
    endpoint: http://10.0.0.2:5000/
    credentials: { dockerConfig: /etc/windlass/config.json }
`,
  });
  expect(settings.node.name).toBe('n1');
  expect(settings.mirror.listen).toEqual([{ host: '127.0.0.1', port: 5050 }]);
  expect(settings.registries).toEqual([
    { host: 'docker.io' },
    {
      host: 'registry.local:5000',
      endpoint: 'http://10.0.0.2:5000',
      credentials: { dockerConfig: '/etc/windlass/config.json' },
    },
  ]);
  expect(warnings).toEqual([
    'registries: the credentials of registry.local:5000 are sent over http, readable on the way',
    'registries: dockerConfig of registry.local:5000: /etc/windlass/config.json cannot be read (ENOENT); it is tried again when needed',
  ]);
});

test('the settings of a swarm are understood', async () => {
  await writeFile(join(cwd, 'secret'), 'x'.repeat(32));
  const { settings, warnings } = await load({
    yaml: `
node: { name: n1, zone: a }
cluster: { secretFile: [secret, absent] }
peer: { listen: "[::]:5051", announce: "n1.example:6051", encryption: none, maxUploads: 8, uploadRate: 100MiB }
p2p: { listen: [/ip4/0.0.0.0/tcp/5052, "/ip6/::/tcp/5052"], announce: /dns4/n1.example/tcp/6052 }
discovery: { kind: dns, peers: "[fd00::1]:5052", dns: { name: _p2p._tcp.Peers.example, port: 6052 } }
`,
  });
  expect(settings.peer).toMatchObject({
    announce: { host: 'n1.example', port: 6051 },
    encryption: 'none',
    maxUploads: 8,
    uploadRate: 100 * 2 ** 20,
  });
  expect(settings.p2p).toEqual({
    listen: ['/ip4/0.0.0.0/tcp/5052', '/ip6/::/tcp/5052'],
    announce: ['/dns4/n1.example/tcp/6052'],
  });
  expect(settings.discovery).toEqual({
    kind: 'dns',
    peers: [{ host: 'fd00::1', port: 5052 }],
    dns: { name: '_p2p._tcp.peers.example', port: 6052 },
    kubernetes: { service: '', port: 5052 },
  });
  expect(settings.cluster).toEqual({ secretFile: ['secret', 'absent'], insecure: false });
  expect(warnings).toEqual(['cluster.secretFile: absent cannot be read (ENOENT); it is tried again when needed']);
});

test('a setting two sections deep has a flag and a variable like any other', async () => {
  const yaml = 'discovery: { dns: { name: file.example } }';
  expect((await settingsOf({ yaml, env: { WINDLASS_DISCOVERY_DNS_PORT: '1' } })).discovery.dns).toEqual({
    name: 'file.example',
    port: 1,
  });
  const flags = ['--discovery.dns.name=flag.example'];
  expect((await settingsOf({ yaml, flags })).discovery.dns).toEqual({ name: 'flag.example', port: 5052 });
});

test('a Service of Kubernetes, with or without its namespace, and its port by number or name', async () => {
  const of = async (yaml: string) => (await settingsOf({ yaml: `discovery: { kubernetes: ${yaml} }` })).discovery;
  expect((await of('{ service: kube-system/windlass-peers, port: p2p }')).kubernetes).toEqual({
    service: 'kube-system/windlass-peers',
    port: 'p2p',
  });
  expect((await of('{ service: windlass-peers, port: "6052" }')).kubernetes).toEqual({
    service: 'windlass-peers',
    port: 6052,
  });
});

describe('precedence', () => {
  const yaml = 'tags: { maxAge: 1s }';
  const env = { WINDLASS_TAGS_MAX_AGE: '2s' };
  const flags = ['--tags.max-age', '3s'];

  test('flag over variable over file over default', async () => {
    expect((await settingsOf({})).tags.maxAge).toBe(30_000);
    expect((await settingsOf({ yaml })).tags.maxAge).toBe(1000);
    expect((await settingsOf({ yaml, env })).tags.maxAge).toBe(2000);
    expect((await settingsOf({ yaml, env, flags })).tags.maxAge).toBe(3000);
  });

  test('a setting leaves the others of its section alone', async () => {
    const settings = await settingsOf({ yaml: 'tags: { maxAge: 1s, staleWhenDown: false }', flags });
    expect(settings.tags).toEqual({ maxAge: 3000, staleWhenDown: false });
  });

  test('a value that is overridden need not be right', async () => {
    expect((await settingsOf({ yaml: 'tags: { maxAge: never }', flags })).tags.maxAge).toBe(3000);
  });

  test('the flag --config wins over WINDLASS_CONFIG', async () => {
    await writeFile(join(cwd, 'variable.yaml'), 'node: { name: variable }');
    expect((await settingsOf({ env: { WINDLASS_CONFIG: 'variable.yaml' } })).node.name).toBe('variable');
    const both = await settingsOf({ env: { WINDLASS_CONFIG: 'variable.yaml' }, yaml: 'node: { name: flag }' });
    expect(both.node.name).toBe('flag');
  });
});

describe('lists and booleans in flags and variables', () => {
  const hosts = async (written: Written) => (await settingsOf(written)).registries.map(({ host }) => host);

  test.each<[string, Written]>([
    ['commas', { flags: ['--registries=a.b, c.d'] }],
    ['a repeated flag', { flags: ['--registries', 'a.b', '--registries=c.d'] }],
    ['JSON', { flags: ['--registries', '["a.b",{"host":"c.d"}]'] }],
    ['JSON in a variable', { env: { WINDLASS_REGISTRIES: '[{"host":"a.b"}, "c.d"]' } }],
    ['repeated JSON objects', { flags: ['--registries', '{"host":"a.b"}', '--registries', '{"host":"c.d"}'] }],
  ])('registries by %s', async (_name, written) => expect(await hosts(written)).toEqual(['a.b', 'c.d']));

  test('addresses in brackets are no JSON', async () => {
    const { mirror } = await settingsOf({ env: { WINDLASS_MIRROR_LISTEN: '[::1]:1,127.0.0.1:2' } });
    expect(mirror.listen).toEqual([
      { host: '::1', port: 1 },
      { host: '127.0.0.1', port: 2 },
    ]);
  });

  test('an empty variable is an empty list', async () => {
    expect(
      (await settingsOf({ env: { WINDLASS_UPSTREAM_CA: '' }, yaml: 'upstream: { ca: a.pem }' })).upstream.ca,
    ).toEqual([]);
  });

  test.each([
    [['--tags.stale-when-down=false'], false],
    [['--tags.stale-when-down', 'false'], false],
    [['--tags.stale-when-down'], true],
    [['--tags.stale-when-down', '--node.name', 'x'], true],
  ])('%j is %s', async (flags, expected) =>
    expect((await settingsOf({ flags, yaml: 'tags: { staleWhenDown: false }' })).tags.staleWhenDown).toBe(expected),
  );
});

describe('a fault names key, value, origin and what would be right', () => {
  test.each<[name: string, written: Written, line: string]>([
    [
      'a size without its unit',
      { flags: ['--store.max-size', '20'] },
      'store.maxSize = "20" (flag --store.max-size): write a size such as 20GiB (units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB); did you mean 20GiB?',
    ],
    [
      'a size in bytes without saying so',
      { yaml: 'store: { maxSize: 25165824 }' },
      'store.maxSize = 25165824 (FILE:1): write a size such as 20GiB (units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB); did you mean 25165824B?',
    ],
    [
      "Kubernetes' way to write one",
      { yaml: '\nstore:\n  maxSize: 20Gi\n' },
      'store.maxSize = "20Gi" (FILE:3): write a size such as 20GiB (units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB); did you mean 20GiB?',
    ],
    [
      'a size of nothing',
      { flags: ['--store.max-size=0'] },
      'store.maxSize = "0" (flag --store.max-size): write a size above 0',
    ],
    [
      'a time with a wrong unit',
      { env: { WINDLASS_TAGS_MAX_AGE: '30sec' } },
      'tags.maxAge = "30sec" (variable WINDLASS_TAGS_MAX_AGE): write a time such as 30s (units: ms, s, m, h, d); did you mean 30s?',
    ],
    [
      'a time that would overflow a timer',
      { flags: ['--stop.grace-period=25d'] },
      'stop.gracePeriod = "25d" (flag --stop.grace-period): write at most 24d',
    ],
    [
      'the whole disk',
      { flags: ['--store.min-free=100%'] },
      'store.minFree = "100%" (flag --store.min-free): write less than 100%',
    ],
    [
      'a share as a fraction',
      { yaml: 'store: { minFree: 0.2 }' },
      'store.minFree = 0.2 (FILE:1): write a share such as 20%; did you mean 20%?',
    ],
    [
      'a choice that is none',
      { flags: ['--log.format', 'xml'] },
      'log.format = "xml" (flag --log.format): write one of json, text',
    ],
    [
      'a number with letters',
      { flags: ['--upstream.max-requests=x'] },
      'upstream.maxRequests = "x" (flag --upstream.max-requests): write a whole number from 1 to 10000',
    ],
    [
      'a boolean in words',
      { yaml: 'tags: { staleWhenDown: yes }' },
      'tags.staleWhenDown = "yes" (FILE:1): write true or false',
    ],
    [
      'a name that YAML reads as a number',
      { yaml: 'node: { name: 12 }' },
      'node.name = 12 (FILE:1): put it in quotes: "12"',
    ],
    [
      'a port alone',
      { yaml: 'mirror: { listen: 5050 }' },
      'mirror.listen = 5050 (FILE:1): write host:port, as in 127.0.0.1:5050 or [::1]:5050; did you mean 127.0.0.1:5050, or 0.0.0.0:5050 for all?',
    ],
    [
      'an address where a multiaddr belongs',
      { flags: ['--p2p.listen=0.0.0.0:5052'] },
      'p2p.listen[0] = "0.0.0.0:5052" (flag --p2p.listen): write a multiaddr: /ip4/…, /ip6/… or /dns/… and /tcp/PORT, as in /ip4/10.0.0.3/tcp/5052; did you mean /ip4/0.0.0.0/tcp/5052?',
    ],
    [
      'a multiaddr of another transport',
      { yaml: 'p2p: { listen: /ip4/0.0.0.0/udp/5052/quic-v1 }' },
      'p2p.listen = "/ip4/0.0.0.0/udp/5052/quic-v1" (FILE:1): write a multiaddr: /ip4/…, /ip6/… or /dns/… and /tcp/PORT, as in /ip4/10.0.0.3/tcp/5052',
    ],
    [
      'an announced address that stands for all',
      { yaml: 'p2p: { announce: [/ip4/0.0.0.0/tcp/5052] }' },
      'p2p.announce[0] = "/ip4/0.0.0.0/tcp/5052" (FILE:1): others cannot reach that: write the address and port at which they can',
    ],
    [
      'a peer without a port',
      { flags: ['--discovery.peers=10.0.0.3:5052,10.0.0.4'] },
      'discovery.peers[1] = "10.0.0.4" (flag --discovery.peers): write host:port, as in 10.0.0.3:5052 or node-1.example:5052',
    ],
    [
      'an announced port that the system would choose',
      { flags: ['--peer.announce=10.0.0.3:0'] },
      'peer.announce = "10.0.0.3:0" (flag --peer.announce): others cannot reach that: write the address and port at which they can',
    ],
    [
      'the DNS name of a Service',
      { flags: ['--discovery.kubernetes.service=windlass-peers.kube-system.svc.cluster.local'] },
      'discovery.kubernetes.service = "windlass-peers.kube-system.svc.cluster.local" (flag --discovery.kubernetes.service): write the name of a Service, or namespace/name, as in kube-system/windlass-peers, in lower case; did you mean kube-system/windlass-peers?',
    ],
    [
      'a whole taint',
      { flags: ['--node.startup-taint=windlass.dev/agent-not-ready:NoSchedule'] },
      'node.startupTaint = "windlass.dev/agent-not-ready:NoSchedule" (flag --node.startup-taint): write the key of a taint, as in windlass.dev/agent-not-ready; did you mean windlass.dev/agent-not-ready?',
    ],
    [
      'a Service with too many parts',
      { yaml: 'discovery: { kubernetes: { service: a/b/c } }' },
      'discovery.kubernetes.service = "a/b/c" (FILE:1): write the name of a Service, or namespace/name, as in kube-system/windlass-peers, in lower case',
    ],
    [
      'a port that is none',
      { yaml: 'discovery: { kubernetes: { port: 70000 } }' },
      'discovery.kubernetes.port = 70000 (FILE:1): write a number from 1 to 65535, or the name of a port of the Service',
    ],
    [
      'an address where a name belongs',
      { flags: ['--discovery.dns.name=10.0.0.3'] },
      'discovery.dns.name = "10.0.0.3" (flag --discovery.dns.name): write a name that the DNS knows, as in windlass-peers.kube-system.svc.cluster.local, without a port',
    ],
    ['no listener at all', { yaml: 'mirror: { listen: [] }' }, 'mirror.listen = [] (FILE:1): write at least 1'],
    [
      'an item of a list',
      { flags: ['--mirror.listen=127.0.0.1:1,x'] },
      'mirror.listen[1] = "x" (flag --mirror.listen): write host:port, as in 127.0.0.1:5050 or [::1]:5050',
    ],
    ['a key without a value', { yaml: 'node:\n  name:\n' }, 'node.name (FILE:2): give it a value, or leave it out'],
    [
      'a flag without a value',
      { flags: ['--node.zone', '--log.level=info'] },
      'node.zone (flag --node.zone): give it a value: --node.zone VALUE, or --node.zone=VALUE',
    ],
    [
      'a flag given twice',
      { flags: ['--node.zone=a', '--node.zone=b'] },
      'node.zone = "b" (flag --node.zone): it is given twice; give it once',
    ],
    [
      'a password in an address',
      { yaml: 'registries: [{ host: a.b, endpoint: "https://u:hunter2@a.b" }]' },
      'registries[0].endpoint = "https://…@a.b" (FILE:1): leave the user name and password out: they belong in `credentials`',
    ],
    [
      'a registry as an address',
      { flags: ['--registries=https://ghcr.io/owner'] },
      'registries[0].host = "https://ghcr.io/owner" (flag --registries): write host or host:port without scheme and path, as in registry.local:5000, *.example.com or *; did you mean ghcr.io?',
    ],
    [
      'a registry without a host',
      { yaml: 'registries: [{ endpoint: "https://a.b" }]' },
      'registries[0].host (FILE:1): it is missing; write host or host:port without scheme and path, as in registry.local:5000, *.example.com or *',
    ],
    [
      'a wildcard as the default registry',
      { flags: ['--mirror.default-registry=*'] },
      'mirror.defaultRegistry = "*" (flag --mirror.default-registry): write host or host:port without scheme and path, as in registry.local:5000',
    ],
  ])('%s', async (_name, written, line) => {
    expect(await faultsOf(written)).toEqual([line]);
  });
});

describe('what is unknown is refused', () => {
  test.each<[name: string, written: Written, line: string]>([
    [
      'a key with a slip',
      { yaml: 'store: { maxSzie: 1GiB }' },
      'store.maxSzie = "1GiB" (FILE:1): there is no such setting; did you mean store.maxSize?',
    ],
    [
      'a secret that stands in the file itself',
      { yaml: 'cluster: { secret: x }' },
      'cluster.secret = (not shown) (FILE:1): there is no such setting; remove it',
    ],
    [
      'a key two sections deep',
      { yaml: 'discovery: { dns: { nmae: a.b } }' },
      'discovery.dns.nmae = "a.b" (FILE:1): there is no such setting; did you mean discovery.dns.name?',
    ],
    [
      'a section that is written with a dot',
      { yaml: 'discovery: { kind: none }\ndiscovery.dns: { name: a.b }' },
      'discovery.dns = {"name":"a.b"} (FILE:2): there is no such key; nest it: discovery: { dns: … }',
    ],
    [
      'a key in kebab-case',
      { yaml: 'store: { max-size: 1GiB }' },
      'store.max-size = "1GiB" (FILE:1): there is no such setting; did you mean store.maxSize?',
    ],
    [
      'a key in the wrong section',
      { yaml: 'maxSize: 1GiB' },
      'maxSize = "1GiB" (FILE:1): there is no such setting; did you mean store.maxSize?',
    ],
    [
      'a section',
      { yaml: 'log: {}\nobservatory: { secret: x }' },
      'observatory = (not shown) (FILE:2): there is no such setting; remove it',
    ],
    [
      'a dotted key',
      { yaml: 'store.path: /x' },
      'store.path = "/x" (FILE:1): there is no such key; nest it: store: { path: … }',
    ],
    [
      'a section with a value',
      { yaml: 'tags: 30s' },
      'tags = "30s" (FILE:1): write its settings below it: maxAge, staleWhenDown',
    ],
    [
      'a section of a section with a value',
      { yaml: 'discovery: { dns: a.b }' },
      'discovery.dns = "a.b" (FILE:1): write its settings below it: name, port',
    ],
    [
      'a key that every object has',
      { yaml: 'constructor: 1\n' },
      'constructor = 1 (FILE:1): there is no such setting; remove it',
    ],
    [
      'a flag in camelCase',
      { flags: ['--store.maxSize=1GiB'] },
      '--store.maxSize (command line): there is no such flag; did you mean --store.max-size?',
    ],
    [
      'a flag without its section',
      { flags: ['--max-size', '1GiB'] },
      '--max-size (command line): there is no such flag; did you mean --store.max-size?',
    ],
    [
      'a flag like no other',
      { flags: ['--frobnicate'] },
      '--frobnicate (command line): there is no such flag; --help lists them',
    ],
    ['a bare word', { flags: ['start'] }, 'start (command line): flags begin with --; nothing else is expected here'],
    [
      'a variable',
      { env: { WINDLASS_STORE_MAXSIZE: '1' } },
      'WINDLASS_STORE_MAXSIZE = "1" (environment): there is no such setting; did you mean WINDLASS_STORE_MAX_SIZE?',
    ],
    [
      'a variable that holds a secret',
      { env: { WINDLASS_PASSWORD: 'hunter2' } },
      'WINDLASS_PASSWORD = (not shown) (environment): there is no such setting; unset it',
    ],
    [
      'a field of a registry',
      { yaml: 'registries: [{ host: a.b, endpont: "https://a.b" }]' },
      'registries[0].endpont (FILE:1): there is no such key; did you mean endpoint?',
    ],
    [
      'a password among credentials',
      { yaml: 'registries: [{ host: a.b, credentials: { username: u, passwordFile: f, password: hunter2 } }]' },
      'registries[0].credentials.password (FILE:1): there is no such key; remove it',
    ],
  ])('%s', async (_name, written, line) => expect(await faultsOf(written)).toEqual([line]));

  test('but what Kubernetes puts into every container for a Service named windlass is nobody’s setting', async () => {
    const env = {
      WINDLASS_SERVICE_HOST: '10.0.0.1',
      WINDLASS_SERVICE_PORT: '5051',
      WINDLASS_SERVICE_PORT_HTTP: '5051',
      WINDLASS_PORT: 'tcp://10.0.0.1:5051',
      WINDLASS_PORT_5051_TCP: 'tcp://10.0.0.1:5051',
      WINDLASS_PORT_5051_TCP_PROTO: 'tcp',
      WINDLASS_PORT_5051_TCP_PORT: '5051',
      WINDLASS_PORT_5051_TCP_ADDR: '10.0.0.1',
      WINDLASS_STATUS_PAGE_SERVICE_HOST: '10.0.0.2',
      WINDLASS_STATUS_PAGE_PORT: 'tcp://10.0.0.2:80',
      WINDLASS_DISCOVERY_DNS_PORT: 'tcp://10.0.0.3:5052',
      WINDLASS_DISCOVERY_DNS_SERVICE_HOST: '10.0.0.3',
      WINDLASS_P2P_PORT_5052_TCP: 'tcp://10.0.0.3:5052',
    };
    await expect(load({ env })).resolves.toBeDefined();
    expect(await faultsOf({ env: { WINDLASS_PORT: '5050' } })).toHaveLength(1);
  });
});

describe('a file that cannot be read', () => {
  test('does not exist', async () => {
    expect(await faultsOf({ env: { WINDLASS_CONFIG: 'nowhere.yaml' } })).toEqual([
      'config = "nowhere.yaml": name a file that can be read (ENOENT)',
    ]);
  });
  test('has a key twice: its line is named', async () => {
    expect(await faultsOf({ yaml: 'log: {}\nstore:\n  maxSize: 1GiB\n  maxSize: 2GiB\n' })).toEqual([
      'config (FILE:4): the same key stands here a second time; keep one',
    ]);
  });
  test.each([
    ['broken', 'store: { path: [', /^config \(FILE:1\): /],
    ['a list', '- a', /^config = \["a"\] \(FILE\): write a map/],
    ['two documents', 'log: {}\n---\nlog: {}', /^config \(FILE/],
    [
      'aliases of aliases',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [${Array(10).fill('*a')}]\nc: &c [${Array(10).fill('*b')}]\nd: [${Array(10).fill('*c')}]`,
      /^config \(FILE\): Excessive alias count/,
    ],
  ])('is %s', async (_name, yaml, line) => expect((await faultsOf({ yaml }))[0]).toMatch(line));
  test.each(['', '# nothing', 'store:\nlog: {}'])('%j is none: it says nothing', async (yaml) =>
    expect(load({ yaml })).resolves.toBeDefined(),
  );
});

describe('contradictions', () => {
  const entry = (fields: string) => ({ yaml: `registries: [{ ${fields} }]` });
  test.each<[name: string, written: Written, line: string]>([
    [
      'two listeners on one address: what was written is blamed, not the default',
      { flags: ['--mirror.listen=127.0.0.1:5053'] },
      'mirror.listen = "127.0.0.1:5053" (flag --mirror.listen): it collides with status.listen, 127.0.0.1:5053; give it another address or port',
    ],
    [
      'a listener on all addresses',
      { flags: ['--status.listen=[::]:5050', '--mirror.listen=127.0.0.1:5050'] },
      'status.listen = "[::]:5050" (flag --status.listen): it collides with mirror.listen, 127.0.0.1:5050 ([::] takes IPv4 as well); give it another address or port',
    ],
    [
      'two addresses of the mirror',
      { flags: ['--mirror.listen=[::1]:1,[0::1]:1'] },
      'mirror.listen[1] = "[::1]:1" (flag --mirror.listen): it collides with mirror.listen[0], [::1]:1; give it another address or port',
    ],
    [
      'discovery without a secret',
      { flags: ['--discovery.kind=static', '--discovery.peers=10.0.0.3:5052'] },
      'discovery.kind = "static" (flag --discovery.kind): agents that look for each other need a secret: name its file in cluster.secretFile, or, where everybody who reaches the ports may be a member, set cluster.insecure: true',
    ],
    [
      'a secret that does not count',
      { flags: ['--cluster.insecure', '--cluster.secret-file=s'] },
      'cluster.insecure = true (flag --cluster.insecure): with it no secret counts; leave it out, or leave out cluster.secretFile',
    ],
    [
      'a static list of nobody',
      { flags: ['--discovery.kind=static', '--cluster.secret-file=s'] },
      'discovery.kind = "static" (flag --discovery.kind): static needs discovery.peers, the host:port of other agents',
    ],
    [
      'a DNS without a name',
      { flags: ['--discovery.kind=dns', '--cluster.insecure'] },
      'discovery.kind = "dns" (flag --discovery.kind): dns needs discovery.dns.name, the name to look up',
    ],
    [
      'Kubernetes without a Service',
      { flags: ['--discovery.kind=kubernetes', '--cluster.insecure'] },
      'discovery.kind = "kubernetes" (flag --discovery.kind): kubernetes needs discovery.kubernetes.service, the headless Service of the agents',
    ],
    [
      "another listener on libp2p's port",
      { flags: [...SWARM, '--status.listen=127.0.0.1:5052'] },
      'status.listen = "127.0.0.1:5052" (flag --status.listen): it collides with p2p.listen, /ip4/0.0.0.0/tcp/5052; give it another address or port',
    ],
    [
      "libp2p on the peers' port",
      { flags: [...SWARM, '--p2p.listen=/ip4/127.0.0.1/tcp/9,/ip4/10.0.0.3/tcp/5051'] },
      'p2p.listen[1] = "/ip4/10.0.0.3/tcp/5051" (flag --p2p.listen): it collides with peer.listen, 0.0.0.0:5051; give it another address or port',
    ],
    [
      'a default registry that is not listed',
      { flags: ['--mirror.default-registry=ghcr.io', '--registries=docker.io'] },
      'mirror.defaultRegistry = "ghcr.io" (flag --mirror.default-registry): it is not on the list `registries`; add it there',
    ],
    [
      'a registry listed twice',
      { flags: ['--registries=docker.io,ghcr.io,Docker.io'] },
      'registries[2].host = "Docker.io" (flag --registries): it is listed twice (registries[0]); keep one',
    ],
    [
      'a certificate without its key',
      entry('host: a.b, clientCert: c'),
      'registries[0].clientCert = "c" (FILE:1): give clientKey with it',
    ],
    [
      'a key without its certificate',
      entry('host: a.b, clientKey: c'),
      'registries[0].clientKey = "c" (FILE:1): give clientCert with it',
    ],
    [
      'a CA for http',
      entry('host: a.b, endpoint: "http://a.b", ca: c'),
      'registries[0].ca = "c" (FILE:1): an http:// endpoint has no certificates; make it https://, or leave this out',
    ],
    [
      'one endpoint for many hosts',
      entry('host: "*.a.b", endpoint: "https://a.b"'),
      'registries[0].endpoint = "https://a.b" (FILE:1): *.a.b stands for many hosts, and an endpoint is one; leave it out',
    ],
    [
      'both kinds of credentials',
      entry('host: a.b, credentials: { dockerConfig: a, username: b, passwordFile: c }'),
      'registries[0].credentials (FILE:1): give dockerConfig, or username and passwordFile, not both',
    ],
    [
      'a user without a password',
      entry('host: a.b, credentials: { username: b }'),
      'registries[0].credentials (FILE:1): username needs passwordFile',
    ],
    [
      'a password without a user',
      entry('host: a.b, credentials: { passwordFile: b }'),
      'registries[0].credentials (FILE:1): passwordFile needs username',
    ],
    [
      'empty credentials',
      entry('host: a.b, credentials: {}'),
      'registries[0].credentials (FILE:1): give dockerConfig, or username and passwordFile',
    ],
    [
      'one password for any host',
      entry('host: "*", credentials: { username: b, passwordFile: c }'),
      'registries[0].credentials (FILE:1): for host * the password would go to any host that a client names; use dockerConfig',
    ],
  ])('%s', async (_name, written, line) => expect(await faultsOf(written)).toEqual([line]));

  test('a list without the default registry is none, as long as nobody asked for that default', async () => {
    expect((await settingsOf({ flags: ['--registries=registry.local:5000'] })).mirror.defaultRegistry).toBe(
      'docker.io',
    );
  });
  test('a wildcard lists the default registry', async () => {
    const flags = ['--registries=*.example.com', '--mirror.default-registry=hub.example.com'];
    expect((await settingsOf({ flags })).mirror.defaultRegistry).toBe('hub.example.com');
  });
  test('libp2p listens on [::] without taking IPv4', async () => {
    const flags = [...SWARM, '--p2p.listen=/ip4/0.0.0.0/tcp/5052,/ip6/::/tcp/5052'];
    await expect(load({ flags })).resolves.toBeDefined();
    expect(await faultsOf({ flags: [...flags, '--status.listen=[::1]:5052'] })).toEqual([
      'status.listen = "[::1]:5052" (flag --status.listen): it collides with p2p.listen[1], /ip6/::/tcp/5052; give it another address or port',
    ]);
  });
  test('a lone agent listens neither for peers nor by libp2p: their ports are free', async () => {
    await expect(load({ flags: ['--status.listen=127.0.0.1:5052'] })).resolves.toBeDefined();
    await expect(load({ flags: ['--status.listen=127.0.0.1:5051'] })).resolves.toBeDefined();
  });
  test('all that discovery lacks is said at once', async () => {
    const subject = (line: string) => line.split(': ', 2)[1]?.split(/[ ,]/, 2).join(' ');
    expect((await faultsOf({ flags: ['--discovery.kind=static'] })).map(subject)).toEqual([
      'agents that',
      'static needs',
    ]);
  });
  test('ports that the system chooses collide with nothing', async () => {
    const flags = ['--mirror.listen=127.0.0.1:0,127.0.0.1:0', '--status.listen=127.0.0.1:0'];
    await expect(load({ flags })).resolves.toBeDefined();
  });
});

test('the faults of all sources, and contradictions among what is right, are reported together', async () => {
  const lines = await faultsOf({
    flags: ['--nonsense', '--tags.max-age=soon'],
    env: { WINDLASS_NONSENSE: '1', WINDLASS_LOG_LEVEL: 'loud' },
    yaml: `
store: { maxSize: 20, minfree: 5% }
status: { listen: "127.0.0.1:5050" }
registries:
  - { host: "a b", clientKey: k }
  - { host: c.d, endpoint: ftp://c.d, clientCert: c }
  - c.d
`,
  });
  const subject = (line: string) => line.split(/ [=(]/, 1)[0];
  expect(lines.map(subject)).toEqual([
    '--nonsense',
    'WINDLASS_NONSENSE',
    'store.minfree',
    'store.maxSize',
    'log.level',
    'tags.maxAge',
    'registries[0].host',
    'registries[1].endpoint',
    'status.listen',
    'registries[0].clientKey',
    'registries[1].clientCert',
    'registries[2].host',
  ]);
});

test('no fault takes more than a line, whatever was written', async () => {
  const lines = await faultsOf({ flags: ['--a\nb\u001b[2J', `--log.level=${'x\n'.repeat(500)}`] });
  expect(lines).toHaveLength(2);
  expect(lines.join('')).not.toMatch(/\p{Cc}/u);
  expect(lines[1]?.length).toBeLessThan(300);
});

test('a mirror that other machines can reach is warned of', async () => {
  expect((await load({ flags: ['--mirror.listen=0.0.0.0:5050'] })).warnings).toEqual([
    'mirror.listen: 0.0.0.0:5050 is open to other machines; they can pull all that the agent can',
  ]);
  expect((await load({})).warnings).toEqual([]);
});

test('a cluster without a secret is warned of, and peers that are named and not looked for', async () => {
  const flags = ['--discovery.peers=10.0.0.3:5052', '--cluster.insecure'];
  expect((await load({ flags: [...flags, '--discovery.kind=static'] })).warnings).toEqual([
    'cluster.insecure: whoever reaches the ports of this agent is a member of the cluster',
  ]);
  expect((await load({ flags })).warnings).toEqual([
    'discovery.kind is none: the peers that are named below discovery are not looked for',
  ]);
});

test('a file that cannot be read is warned of, relative ones from the working folder; one that can is not', async () => {
  await writeFile(join(cwd, 'there.pem'), '');
  const yaml = `
upstream: { ca: [there.pem, absent-1.pem] }
registries:
  - { host: a.example, ca: there.pem, clientCert: absent-2.pem, clientKey: there.pem/x }
  - { host: b.example, credentials: { username: u, passwordFile: absent-3 } }
`;
  expect((await load({ yaml })).warnings).toEqual([
    'upstream.ca: absent-1.pem cannot be read (ENOENT); it is tried again when needed',
    'registries: clientCert of a.example: absent-2.pem cannot be read (ENOENT); it is tried again when needed',
    'registries: clientKey of a.example: there.pem/x cannot be read (ENOTDIR); it is tried again when needed',
    'registries: passwordFile of b.example: absent-3 cannot be read (ENOENT); it is tried again when needed',
  ]);
});

describe('where the store goes', () => {
  test('a path that was given is taken as it is, absolute, and nothing is made', async () => {
    const { settings } = await load({ flags: ['--store.path=not/there'] });
    expect(settings.store.path).toBe(join(cwd, 'not/there'));
    await expect(stat(settings.store.path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('the default is made where that is possible', async () => {
    const path = join(cwd, 'var', 'lib', 'windlass');
    expect(await chooseStorePath(path, join(cwd, '.windlass'))).toEqual({ path });
    expect((await stat(path)).isDirectory()).toBe(true);
  });

  test('where it is not, the fallback is taken, and said', async () => {
    await writeFile(join(cwd, 'file'), '');
    const path = join(cwd, 'file', 'windlass');
    expect(await chooseStorePath(path, join(cwd, '.windlass'))).toEqual({
      path: join(cwd, '.windlass'),
      warning: `${path} cannot be written (ENOTDIR): the store is in ${join(cwd, '.windlass')}`,
    });
  });
});
