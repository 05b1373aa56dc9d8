import { writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { Metrics } from '../../src/metrics/metrics.ts';
import { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import { type Control, type ControlOptions, createControl } from '../../src/routing/control/control.ts';
import { type Identity, loadIdentity } from '../../src/routing/identity.ts';
import { type Member, type PeerId, type SignedMember, WIRE_VERSION } from '../../src/routing/member.ts';
import { readMember, signMember } from '../../src/routing/member-entry.ts';
import type { Scratch } from './scratch.ts';

export const SECRET = 'the secret of this cluster';

export interface ControlNodeOptions {
  /** One, or several; `insecure`. */
  readonly secrets?: readonly string[] | 'insecure';
  readonly wireVersion?: number;
  /** Put together by hand, it may be wrong. */
  readonly selfEntry?: ControlOptions['selfEntry'];
}

/** A control plane on loopback, and what it saw. */
export interface TestControl {
  readonly name: string;
  readonly control: Control;
  readonly identity: Identity;
  readonly metrics: Metrics;
  /** `host:port` */
  readonly address: string;
  readonly hellos: { readonly entry: SignedMember; readonly from: PeerId }[];
  readonly disconnects: PeerId[];
  readonly logs: Record<string, unknown>[];
  /** Refused connections of a reason. */
  refused(reason: string): Promise<number>;
}

let count = 0;

export async function startControl(scratch: Scratch, options: ControlNodeOptions = {}): Promise<TestControl> {
  count += 1;
  const name = `node-${count}`;
  const logs: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => logs.push(JSON.parse(line)) });
  const identity = await loadIdentity({ storePath: scratch.join(name), nodeName: name, logger });
  const { secrets: given = [SECRET], wireVersion = WIRE_VERSION } = options;
  const files = given === 'insecure' ? [] : given.map((_, index) => scratch.join(`${name}-secret-${index}`));
  for (const [index, path] of files.entries()) await writeFile(path, given[index] ?? '');
  const secrets = new ClusterSecrets(given === 'insecure' ? 'insecure' : { files, logger });
  await secrets.load();
  const metrics = new Metrics();
  const entry = (): SignedMember => {
    const member = {
      peerId: identity.peerId,
      incarnation: identity.incarnation,
      sequence: 1,
      nodeName: name,
      zone: '',
      dataAddress: '127.0.0.1:5051',
      p2pAddresses: control.multiaddrs,
      wireVersion,
      leaving: false,
    };
    return signMember(member, (bytes) => identity.sign(bytes)).signed;
  };
  const control: Control = await createControl({
    identity,
    secrets,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    selfEntry: options.selfEntry ?? entry,
    logger,
    metrics,
    wireVersion,
  });
  const hellos: TestControl['hellos'] = [];
  const disconnects: PeerId[] = [];
  control.onHello((signed, from) => hellos.push({ entry: signed, from }));
  control.onDisconnect((peerId) => disconnects.push(peerId));
  scratch.defer(() => control.stop());
  await control.start();
  const port = /\/tcp\/(\d+)/.exec(control.multiaddrs[0] ?? '')?.[1];
  return {
    name,
    control,
    identity,
    metrics,
    address: `127.0.0.1:${port}`,
    hellos,
    disconnects,
    logs,
    async refused(reason) {
      const { values } = await metrics.peerRefused.get();
      return values.find(({ labels }) => labels.plane === 'p2p' && labels.reason === reason)?.value ?? 0;
    },
  };
}

/**
 * Many at once, given the addresses of the first ones. Who has said hello to anybody is known to all a moment later, as
 * the roster would have it.
 */
export async function startControls(scratch: Scratch, count: number, seeds: number): Promise<readonly TestControl[]> {
  const nodes = await Promise.all(Array.from({ length: count }, () => startControl(scratch)));
  const known = new Map<PeerId, Member>();
  let spreading: NodeJS.Timeout | undefined;
  const spread = () => {
    spreading = undefined;
    for (const { control } of nodes) if (control.peers.length > 0) control.setMembers(known.values());
  };
  scratch.defer(() => clearTimeout(spreading));
  for (const { control } of nodes) {
    control.onHello((signed) => {
      const entry = readMember(signed);
      if (entry === undefined || known.has(entry.member.peerId)) return;
      known.set(entry.member.peerId, entry.member);
      spreading ??= setTimeout(spread, 200);
    });
  }
  for (const { control } of nodes) control.setSeeds(nodes.slice(0, seeds).map(({ address }) => address));
  return nodes;
}

/** Can each be reached from each, over connections of peers? */
export function isOneGraph(nodes: readonly TestControl[]): boolean {
  const byPeer = new Map(nodes.map((node) => [node.identity.peerId, node]));
  const reached = new Set<PeerId>();
  const open = nodes.slice(0, 1).map(({ identity }) => identity.peerId);
  for (let peer = open.pop(); peer !== undefined; peer = open.pop()) {
    if (reached.has(peer)) continue;
    reached.add(peer);
    open.push(...(byPeer.get(peer)?.control.peers ?? []));
  }
  return nodes.every(({ identity }) => reached.has(identity.peerId));
}
