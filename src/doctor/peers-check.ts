import { suggestMultiaddr } from '../config/multiaddr.ts';
import type { AgentStatus } from '../status/agent-status.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result, skipped } from './finding.ts';
import { type DialOptions, type DialTarget, dialData, dialP2p } from './peer-dials.ts';
import type { Subject } from './subject.ts';

/** Of a large cluster so many, chosen by chance: if a firewall is in between it shows. */
const MOST_PEERS = 64;
const AT_ONCE = 16;

/** Can the other agents be reached from this machine, where they or discovery say that they listen? */
export async function checkPeers({ settings, answerMs }: Subject, status: AgentStatus): Promise<CheckResult> {
  if (status.discovery === 'none')
    return skipped('peers', 'this agent is alone by its settings (discovery.kind is none)');
  const options = { isTls: settings.peer.encryption === 'tls', answerMs };
  const chosen = sample(status.peers, MOST_PEERS);
  const strayed = sample(others(status), MOST_PEERS);
  const [live, stray] = await Promise.all([dialAll(chosen, options), dialAll(strayed, options)]);
  if (chosen.length === 0) return result('peers', 'no other agent', [alone(status, strayed, stray)]);
  const among =
    chosen.length === status.peers.length ? `${chosen.length}` : `${chosen.length} of ${status.peers.length}`;
  const { listen } = settings.peer;
  const findings = [
    ...unreachable('peer', live.peer, `peer.listen, ${listen.port} by its settings here`),
    ...unreachable('p2p', live.p2p, 'p2p.listen, 5052 by default'),
    ...strangers(live.stranger),
    ...unmet(allOf(stray)),
  ];
  const sick = new Set(allOf(live).map((text) => text.split(' ', 1)[0]));
  return result(
    'peers',
    `${chosen.length - sick.size} of ${among} other agents can be reached on both ports`,
    findings,
  );
}

/**
 * Whom discovery names and who is no member; where nobody is one, also those that were and are taken for dead: so are all
 * the others to a node that is cut off.
 */
function others({ peers, unmet = [], gone }: AgentStatus): DialTarget[] {
  const dead = gone.filter(({ state, p2pAddresses }) => state === 'dead' && p2pAddresses !== undefined);
  const isAt = (address: string) => (multiaddress: string) => multiaddress === multiaddrIn(address);
  const named = unmet.map(({ address, nodeName }): DialTarget => {
    const known = dead.find(({ p2pAddresses }) => p2pAddresses.some(isAt(address)));
    return known ?? { nodeName: nodeName ?? address, p2pAddresses: [multiaddrIn(address)] };
  });
  return peers.length > 0 ? named : [...new Set([...named, ...dead])];
}

/** Discovery's may be multiaddresses themselves. */
function multiaddrIn(address: string): string {
  return suggestMultiaddr(address) ?? address;
}

interface Failures {
  readonly peer: readonly string[];
  readonly p2p: readonly string[];
  readonly stranger: readonly string[];
}

async function dialAll(targets: readonly DialTarget[], options: DialOptions): Promise<Failures> {
  const failures = { peer: [] as string[], p2p: [] as string[], stranger: [] as string[] };
  await atOnce(targets, AT_ONCE, async (peer) => {
    const [data, p2p] = await Promise.all([dialData(peer, options), dialP2p(peer, options.answerMs)]);
    if (data !== undefined) failures[data.isStranger ? 'stranger' : 'peer'].push(data.why);
    if (p2p !== undefined) failures.p2p.push(p2p);
  });
  return failures;
}

function allOf({ peer, p2p, stranger }: Failures): string[] {
  return [...peer, ...p2p, ...stranger];
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

/** Live members are there: a node that goes, or is being made, looks like this as well. */
function unmet(failures: readonly string[]): Finding[] {
  if (failures.length === 0) return [];
  return [
    {
      code: 'peers-unmet',
      severity: 'warning',
      what: `discovery names others that are no members, and cannot be reached: ${firstOf(failures)}`,
      mend: 'if they run, open TCP to both ports between all nodes (peer.listen, p2p.listen): security groups, firewalls, NetworkPolicies; if not, take them out of discovery.peers, or start them',
      docs: DOCUMENTS.networkPolicies,
      about: failures,
    },
  ];
}

function alone({ discovery }: AgentStatus, named: readonly DialTarget[], failed: Failures): Finding {
  const finding = { code: 'peers-none', docs: DOCUMENTS.networkPolicies } as const;
  if (named.length === 0) {
    return {
      ...finding,
      severity: 'warning',
      what: `discovery.kind is ${discovery}, and no other agent has been found: this one fetches everything upstream itself`,
      mend: "if there are other nodes, discovery must name them (see the agent's log)",
    };
  }
  const failures = allOf(failed);
  const count =
    named.length === 1
      ? 'another agent is known by its address'
      : `${named.length} other agents are known by their addresses`;
  if (failures.length === 0) {
    return {
      ...finding,
      severity: 'error',
      what: `${count}, what listens there answers, and none is a member: this one fetches everything upstream itself`,
      mend: "all agents need the same cluster secret and versions that can talk; see the agent's log, and windlass_peer_refused_total here and there",
    };
  }
  return {
    ...finding,
    severity: 'error',
    what: `${count}, and none is a member: this one fetches everything upstream itself. It cannot be reached, or they cannot: ${firstOf(failures)}`,
    mend: 'open TCP to both ports (peer.listen, 5051 by default, and p2p.listen, 5052) between all nodes: security groups, firewalls, NetworkPolicies; if they are down, start them',
    about: failures,
  };
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
