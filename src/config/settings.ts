// Over 300 lines: all settings, in one schema, in the order of the README's table.

import { hostname } from 'node:os';
import { z } from 'zod';
import { DEFAULT_REGISTRIES } from './default-registries.ts';
import { registryEntry } from './registry-entry.ts';
import { documented } from './setting-docs.ts';
import {
  choice,
  count,
  dnsName,
  duration,
  httpUrl,
  list,
  listenAddress,
  multiaddr,
  path,
  peerAddress,
  peerAddressOrNone,
  registryHost,
  serviceName,
  servicePort,
  share,
  size,
  taintKey,
  text,
  toggle,
} from './setting-types.ts';

/**
 * The one table of settings. What stands here decides type, default, flag (`--store.max-size`), variable
 * (`WINDLASS_STORE_MAX_SIZE`), YAML key (`store.maxSize`), help, and the README's table. One table, however long.
 *
 * The names are a public contract: charts, manifests and people's files depend on them. Add; never rename.
 *
 * Once loaded, a size is a number of bytes, a time a number of milliseconds, a share a number from 0 up to 1, an
 * address `{ host, port }`.
 */
export const settingsSchema = z.strictObject({
  node: z.strictObject({
    name: setting(text(), hostname(), 'The name of this node in logs and among agents.', "the machine's host name"),
    zone: setting(
      text({ mayBeEmpty: true }),
      '',
      'The zone of this node; agents prefer peers of their own zone. Empty: with `discovery.kind` `kubernetes` that of its own endpoint.',
    ),
    startupTaint: setting(
      taintKey(),
      '',
      'In Kubernetes: the key of a taint that is removed from the Node called `node.name` once its mirror serves.',
    ),
  }),
  mirror: z.strictObject({
    listen: setting(
      list(listenAddress(), { min: 1 }),
      ['127.0.0.1:5050', '[::1]:5050'],
      'Where containerd and other runtimes ask. Whoever reaches it can pull all that the agent can.',
    ),
    defaultRegistry: setting(
      registryHost({ wildcards: false }),
      'docker.io',
      'The registry of requests that name none, neither by `?ns=` nor in their path.',
    ),
    headersTimeout: setting(
      duration(),
      '20s',
      'How long a client waits for headers while upstream is slow, before it gets 503. Keep it under the 30s after which containerd leaves.',
    ),
    writeTimeout: setting(duration(), '2m', 'A client that takes no byte for so long is let go.'),
    maxConnections: setting(
      count({ min: 1, max: 1_000_000 }),
      8192,
      'Most connections of clients; above it, idle ones are closed.',
    ),
  }),
  peer: z.strictObject({
    listen: setting(
      listenAddress(),
      '0.0.0.0:5051',
      'Where other agents ask for blobs and claims, once `discovery.kind` is not `none`.',
    ),
    announce: setting(
      peerAddressOrNone(),
      '',
      'The host:port that the others are told to ask. Empty: that of `peer.listen`, or, if that is all addresses, the first one of this machine.',
    ),
    encryption: setting(
      choice('tls', 'none'),
      'tls',
      'Between agents: `tls` (mutual), or `none` for networks that are encrypted below; requests are authenticated all the same.',
    ),
    maxUploads: setting(
      count({ min: 1, max: 10_000 }),
      32,
      'Most blobs sent to other agents at once; above it they are sent to another holder.',
    ),
    uploadRate: setting(
      size({ mayBeZero: true }),
      '0',
      'Most bytes a second sent to other agents, all together; `0` is no limit.',
    ),
    connectTimeout: setting(
      duration(),
      '2s',
      'How long a connection to another agent may take, TLS included; then the next holder is asked.',
    ),
    firstByteTimeout: setting(
      duration(),
      '2s',
      'How long another agent may take to its first byte of a blob; then the next holder is asked.',
    ),
    stallTimeout: setting(
      duration(),
      '2s',
      'An agent that sends no byte of a blob for so long is left for another, unless it says that it waits itself.',
    ),
  }),
  p2p: z.strictObject({
    listen: setting(
      list(multiaddr({ reachable: false }), { min: 1 }),
      ['/ip4/0.0.0.0/tcp/5052'],
      'Where libp2p listens (hello, gossip, DHT), once `discovery.kind` is not `none`: multiaddrs of TCP.',
    ),
    announce: setting(
      list(multiaddr({ reachable: true })),
      [],
      'The multiaddrs that the others are told to dial. Empty: those on which libp2p listens.',
    ),
  }),
  discovery: z.strictObject({
    kind: setting(
      choice('none', 'static', 'dns', 'kubernetes'),
      'none',
      'How agents find each other: `kubernetes` (a headless Service, by the API), `dns` (a name), `static` (a list), or `none`: the agent stays alone.',
    ),
    peers: setting(
      list(peerAddress()),
      [],
      "For `static`: host:port of other agents' `p2p.listen`. Some are enough, the others are learned; this node's own may be among them.",
    ),
    dns: z.strictObject({
      name: setting(dnsName(), '', 'For `dns`: the name whose SRV, A and AAAA records are the agents.'),
      port: setting(
        count({ min: 1, max: 65_535 }),
        5052,
        'For `dns`: the port of `p2p.listen` where records tell none (A and AAAA).',
      ),
    }),
    kubernetes: z.strictObject({
      service: setting(
        serviceName(),
        '',
        "For `kubernetes`: the headless Service whose EndpointSlices are the agents, with `publishNotReadyAddresses`; a name alone is one in the Pod's own namespace.",
      ),
      port: setting(
        servicePort(),
        5052,
        'For `kubernetes`: the port of `p2p.listen`: its number, or the name that it has in the Service.',
      ),
    }),
  }),
  cluster: z.strictObject({
    secretFile: setting(
      list(path()),
      [],
      'Files of the secret that makes an agent a member; several while it rotates. Read again when they change. Needed as soon as `discovery.kind` is not `none`.',
    ),
    insecure: setting(
      toggle(),
      false,
      '`true`: no secret; **whoever reaches the ports is a member, reads every blob and can name itself as a source.**',
    ),
  }),
  claims: z.strictObject({
    timeout: setting(
      duration(),
      '2s',
      'How long a claim (who may fetch a blob upstream, who reads from whom) may stay unanswered; then a deputy is asked, then upstream.',
    ),
  }),
  containerd: z.strictObject({
    preset: setting(
      choice('default', 'k3s', 'rke2', 'talos', 'gke', 'eks', 'aks'),
      'default',
      'Whose paths are meant where `certsDir`, `configFile` and `contentDir` are left out; and for `windlass doctor` the socket.',
    ),
    certsDir: setting(
      path({ mayBeEmpty: true }),
      '',
      'The folder of `hosts.toml` files that `windlass configure` writes: the `config_path` of containerd.',
      '/etc/containerd/certs.d',
    ),
    configFile: setting(
      path({ mayBeEmpty: true }),
      '',
      'The configuration of containerd, which `windlass configure` reads and never changes.',
      '/etc/containerd/config.toml',
    ),
    socket: setting(
      path({ mayBeEmpty: true }),
      '',
      "containerd's socket. Set: what it holds is served from its own directory, to other agents too. Mount the folder of the socket, which is a new one after a restart. Empty: off, and `windlass doctor` asks the preset's.",
    ),
    contentDir: setting(
      path({ mayBeEmpty: true }),
      '',
      'The directory of its content store (`io.containerd.content.v1.content`), which is only read.',
      '/var/lib/containerd/io.containerd.content.v1.content',
    ),
    namespace: setting(text(), 'k8s.io', 'The namespace of containerd whose content is served.'),
    keepTwice: setting(
      toggle(),
      true,
      '`false`: what containerd has held for 10 minutes, and could be served from there, is dropped from the store. It goes for good when containerd deletes it with its image.',
    ),
    shareWhenDown: setting(
      toggle(),
      false,
      'What containerd holds is served only if this agent could fetch it too, with its own credentials: asked once a day and blob. With the registry down, and never an answer from it: `true` serves it all the same, also what a Pod had by a secret of its own.',
    ),
  }),
  status: z.strictObject({
    listen: setting(
      listenAddress(),
      '127.0.0.1:5053',
      'The status page, `/metrics`, `/healthz` and `/readyz`. Read-only, without a password: what it tells is for whoever reaches it.',
    ),
    names: setting(
      choice('local', 'all', 'none'),
      'local',
      'Who is shown the names of repositories on the status page: `local`, who asks at localhost (a port-forward does), `all`, or `none`. Others see digests.',
    ),
  }),
  store: z.strictObject({
    path: setting(
      path(),
      '/var/lib/windlass',
      'The folder of blobs and tags. Left out, and not writable: `./.windlass`, and the log says so.',
    ),
    maxSize: setting(size(), '20GiB', 'Most bytes kept; the least recently used blobs make room.'),
    minFree: setting(
      share(),
      '20%',
      "Share of the disk that stays free, for others' sake: above the thresholds at which kubelet evicts (15%).",
    ),
    scrubRate: setting(
      size({ mayBeZero: true }),
      '8MiB',
      'Bytes a second that are hashed again in the background, to drop what rotted; `0` turns it off.',
    ),
  }),
  log: z.strictObject({
    level: setting(choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'), 'info', 'What is logged.'),
    format: setting(choice('json', 'text'), 'json', 'One JSON object a line, or text for people.'),
  }),
  tags: z.strictObject({
    maxAge: setting(
      duration({ mayBeZero: true }),
      '30s',
      'A tag is checked upstream (by HEAD) at most once in this time; `0` checks at every pull.',
    ),
    staleWhenDown: setting(
      toggle(),
      true,
      'With upstream down, a tag is answered with its last known digest; `false`: with 503.',
    ),
  }),
  ingest: z.strictObject({
    finishLimit: setting(
      size({ mayBeZero: true }),
      '20GiB',
      'With no reader left, a blob that still lacks more than this is not fetched to its end.',
    ),
    partialMaxAge: setting(duration(), '24h', 'Unfinished files older than this are deleted instead of resumed.'),
  }),
  upstream: z.strictObject({
    proxy: setting(
      httpUrl({ mayBeEmpty: true, credentials: true }),
      '',
      'An HTTP proxy for all registries. Empty: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count.',
    ),
    ca: setting(list(path()), [], 'Files of further CA certificates (PEM); read again when they change.'),
    maxRequests: setting(count({ min: 1, max: 10_000 }), 32, 'Most requests at once to one registry; others queue.'),
    connectTimeout: setting(duration(), '5s', 'How long a connection may take, TLS included.'),
    headersTimeout: setting(duration(), '60s', "How long a registry's headers may take."),
    stallTimeout: setting(duration(), '15s', 'A body of which no byte comes for so long is asked for again.'),
  }),
  stop: z.strictObject({
    gracePeriod: setting(duration(), '20s', 'How long running pulls have to end after SIGTERM or SIGINT.'),
  }),
  registries: setting(
    list(registryEntry, { min: 1 }),
    [...DEFAULT_REGISTRIES],
    'The allow-list: no other registry is ever contacted. A plain string is a `host`; `*`, any host, must be written to be had.',
  ),
});

export type Settings = Immutable<z.output<typeof settingsSchema>>;

type Immutable<T> = T extends readonly (infer E)[]
  ? readonly Immutable<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Immutable<T[K]> }
    : T;

/** `standard` is written as in a file, and read by the same rules. */
function setting<O>(
  type: z.ZodType<O, unknown>,
  standard: string | number | boolean | string[],
  help: string,
  shownDefault?: string,
) {
  return documented(z.prefault(type, standard), help, shownDefault);
}
