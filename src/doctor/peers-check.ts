import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { formatListenAddress, type ListenAddress, parseListenAddress } from '../config/listen-address.ts';
import { parseMultiaddr } from '../config/multiaddr.ts';
import { systemCode } from '../errors.ts';
import { peerIdOfCertificate } from '../routing/certificate.ts';
import type { AgentStatus, PeerStatus } from '../status/agent-status.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result, skipped } from './finding.ts';
import type { Subject } from './subject.ts';

const DIAL_MS = 5_000;
/** Of a large cluster so many, chosen by chance: if a firewall is in between it shows. */
const MOST_PEERS = 64;
const AT_ONCE = 16;

/** Can the other agents be reached from this machine, where they say that they listen? */
export async function checkPeers({ settings }: Subject, status: AgentStatus): Promise<CheckResult> {
  if (status.discovery === 'none')
    return skipped('peers', 'this agent is alone by its settings (discovery.kind is none)');
  if (status.peers.length === 0) return result('peers', 'no other agent', [alone(status)]);
  const chosen = sample(status.peers, MOST_PEERS);
  const isTls = settings.peer.encryption === 'tls';
  const failures = { peer: [] as string[], p2p: [] as string[], stranger: [] as string[] };
  await atOnce(chosen, AT_ONCE, async (peer) => {
    const [data, p2p] = await Promise.all([dialData(peer, isTls), dialP2p(peer)]);
    if (data !== undefined) failures[data.isStranger ? 'stranger' : 'peer'].push(data.why);
    if (p2p !== undefined) failures.p2p.push(p2p);
  });
  const among =
    chosen.length === status.peers.length ? `${chosen.length}` : `${chosen.length} of ${status.peers.length}`;
  const { listen } = settings.peer;
  const findings = [
    ...unreachable('peer', failures.peer, `peer.listen, ${listen.port} by its settings here`),
    ...unreachable('p2p', failures.p2p, 'p2p.listen, 5052 by default'),
    ...strangers(failures.stranger),
  ];
  const sick = new Set([...failures.peer, ...failures.p2p, ...failures.stranger].map((text) => text.split(' ', 1)[0]));
  return result(
    'peers',
    `${chosen.length - sick.size} of ${among} other agents can be reached on both ports`,
    findings,
  );
}

/** @returns nothing where the agent that was meant answers */
async function dialData(
  { nodeName, peerId, dataAddress }: PeerStatus,
  isTls: boolean,
): Promise<{ readonly why: string; readonly isStranger: boolean } | undefined> {
  const target = parseListenAddress(dataAddress);
  const where = `${nodeName} (${dataAddress}`;
  if (target === undefined) return { why: `${where}: no address)`, isStranger: false };
  try {
    if (!isTls) {
      (await dial(target, false)).destroy();
      return undefined;
    }
    const socket = (await dial(target, true)) as TLSSocket;
    const found = peerIdOfCertificate(socket.getPeerX509Certificate());
    // In order: whoever breaks off is counted there as a stranger at the door.
    socket.end();
    return found === peerId
      ? undefined
      : { why: `${where}: another answers, ${found ?? 'no agent'})`, isStranger: true };
  } catch (error) {
    return { why: `${where}: ${reasonOf(error)})`, isStranger: false };
  }
}

/** One of its addresses is enough. */
async function dialP2p({ nodeName, p2pAddresses = [] }: PeerStatus): Promise<string | undefined> {
  const targets = p2pAddresses.flatMap((address) => parseMultiaddr(address) ?? []);
  const reasons = await Promise.all(
    targets.map(async (target) => {
      try {
        await greet(await dial(target, false));
        return undefined;
      } catch (error) {
        return `${formatListenAddress(target)}: ${reasonOf(error)}`;
      }
    }),
  );
  return reasons.length === 0 || reasons.includes(undefined) ? undefined : `${nodeName} (${reasons.join(', ')})`;
}

/** libp2p's first word, which the other side gives back before it wants to know who asks. */
const HELLO = Buffer.from('\x13/multistream/1.0.0\n');

async function greet(socket: Socket): Promise<void> {
  const timer = setTimeout(() => socket.destroy(new Error(`silent for ${DIAL_MS / 1000} s`)), DIAL_MS);
  try {
    socket.write(HELLO);
    let heard = Buffer.alloc(0);
    for await (const part of socket as AsyncIterable<Buffer>) {
      heard = Buffer.concat([heard, part]);
      if (heard.length >= HELLO.length) break;
    }
    if (!heard.subarray(0, HELLO.length).equals(HELLO)) throw new Error('no libp2p answers');
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Resolves once it is connected; with TLS, once the other side has shown its certificate. */
function dial({ host, port }: ListenAddress, isTls: boolean): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = isTls
      ? connectTls({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' }, () => done())
      : connectPlain({ host, port }, () => done());
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${DIAL_MS / 1000} s`)), DIAL_MS);
    const done = () => {
      clearTimeout(timer);
      resolve(socket);
    };
    // It stays: an error after the connection is nobody's.
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

function unreachable(port: 'peer' | 'p2p', failures: readonly string[], setting: string): Finding[] {
  if (failures.length === 0) return [];
  const loss =
    port === 'peer' ? 'no blob comes from them, nor any claim' : 'they are found late, and their news is missed';
  return [
    {
      code: `peers-unreachable-${port}`,
      severity: 'error',
      what: `other agents cannot be reached on their ${port} port: ${firstOf(failures)}; ${loss}`,
      mend: `open TCP to that port (${setting}) between all nodes: security groups, firewalls, NetworkPolicies; behind NAT set ${port}.announce`,
      docs: DOCUMENTS.networkPolicies,
      about: failures,
    },
  ];
}

function strangers(failures: readonly string[]): Finding[] {
  if (failures.length === 0) return [];
  return [
    {
      code: 'peers-strange',
      severity: 'error',
      what: `something else answers where other agents should: ${firstOf(failures)}`,
      mend: 'see whether a proxy or a load balancer stands in between, and whether two nodes announce one address (peer.announce)',
      docs: DOCUMENTS.networkPolicies,
      about: failures,
    },
  ];
}

function alone({ discovery }: AgentStatus): Finding {
  return {
    code: 'peers-none',
    severity: 'warning',
    what: `discovery.kind is ${discovery}, and no other agent has been found: this one fetches everything upstream itself`,
    mend: "if there are other nodes: all agents need the same cluster secret, discovery must name the others, and their ports must be open (see the agent's log, and windlass_peer_refused_total)",
    docs: DOCUMENTS.networkPolicies,
  };
}

function reasonOf(error: unknown): string {
  return systemCode(error) ?? (error instanceof Error ? error.message : String(error));
}

/** So many of them, any with the same chance. */
function sample<T>(all: readonly T[], most: number): T[] {
  return all
    .map((one) => ({ one, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, most)
    .map(({ one }) => one);
}

async function atOnce<T>(all: readonly T[], most: number, work: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await work(one);
  };
  await Promise.all(Array.from({ length: most }, worker));
}
