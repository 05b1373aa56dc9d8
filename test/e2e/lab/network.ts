import { networkInterfaces } from 'node:os';
import { run } from '../../support/commands.ts';
import { limitRate } from '../../support/link-rate.ts';
import type { Scratch } from '../../support/scratch.ts';
import { own, removeLeftovers, removeNamespace } from './leftovers.ts';
import { ownRunId } from './run-id.ts';

/** Of the data network; the same in every lab, since nobody outside sees it. */
const DATA = '10.87.0';
/** bridge link set … state: a port that is disabled swallows every frame, and its other end notices nothing. */
const DISABLED = '0';
const FORWARDING = '3';

export interface Host {
  /** `n3`, `upstream`: also the switch's port. */
  readonly name: string;
  readonly namespace: string;
  /** On the data network: what others of the lab reach. Counted, and as fast as its link. */
  readonly address: string;
  /** On the network by which the test reaches it: neither counted nor limited. */
  readonly outside: string;
}

/** What passed a link, both in bytes on the wire, since the network was made. */
export interface LinkBytes {
  readonly sent: number;
  readonly received: number;
}

/**
 * Hosts, each a network namespace, on a switch of their own; and a second network by which the test reaches them.
 *
 * ```
 *   host n0 [ eth0 ]──tbf──[ n0 ]┐                    ┌[ upstream ]──tbf──[ eth0 ] host upstream
 *   host n1 [ eth0 ]──tbf──[ n1 ]┤ bridge data        │
 *                                └────────────────────┘  namespace "switch"
 *   host n0 [ ctl ]────────[ c0 ]┐ bridge control
 *                                └──[ test ]──────── root namespace, the test's own process
 * ```
 * What goes over 127.0.0.1 within a host, or over its ctl, touches no counter and no limit.
 */
export class LabNetwork {
  static #serial = 0;

  readonly hosts: readonly Host[];
  /** The test's own address on the network by which it reaches hosts. */
  readonly outside: string;
  readonly #switch: string;

  private constructor(hosts: readonly Host[], outside: string, switchNamespace: string) {
    this.hosts = hosts;
    this.outside = outside;
    this.#switch = switchNamespace;
  }

  static async create(scratch: Scratch, names: readonly string[]): Promise<LabNetwork> {
    await removeLeftovers();
    LabNetwork.#serial += 1;
    const runId = ownRunId();
    await own(scratch, runId);
    const prefix = `${runId}-${LabNetwork.#serial}`;
    const switchNamespace = `${prefix}switch`;
    const control = freeControlNetwork();
    const hosts = names.map((name, i) => ({
      name,
      namespace: `${prefix}${name}`,
      address: `${DATA}.${i + 2}`,
      outside: `${control}.${i + 2}`,
    }));
    scratch.defer(async () => {
      for (const { namespace } of hosts) await removeNamespace(namespace);
      await removeNamespace(switchNamespace); // its end of the pair takes ours with it
    });
    const device = `wlr${process.pid}x${LabNetwork.#serial}`.slice(0, 15);
    await batch(undefined, [
      `netns add ${switchNamespace}`,
      ...hosts.map(({ namespace }) => `netns add ${namespace}`),
      `link add name ${device} type veth peer name test netns ${switchNamespace}`,
      `addr add ${control}.1/24 dev ${device}`,
      `link set ${device} up`,
      ...hosts.flatMap(({ name, namespace }, i) => [
        `link add name ${name} netns ${switchNamespace} type veth peer name eth0 netns ${namespace}`,
        `link add c${i} netns ${switchNamespace} type veth peer name ctl netns ${namespace}`,
      ]),
    ]);
    await batch(switchNamespace, [
      ...['data', 'control'].flatMap((bridge) => [
        `link add name ${bridge} type bridge stp_state 0`,
        `link set dev ${bridge} up`,
      ]),
      'link set test master control up',
      ...hosts.flatMap(({ name }, i) => [`link set dev ${name} master data up`, `link set c${i} master control up`]),
    ]);
    for (const { namespace, address, outside } of hosts) {
      await batch(namespace, [
        'link set lo up',
        `addr add ${address}/24 dev eth0`,
        `addr add ${outside}/24 dev ctl`,
        'link set eth0 up',
        'link set ctl up',
      ]);
    }
    return new LabNetwork(hosts, `${control}.1`, switchNamespace);
  }

  /** Limits a host's link, in Mbit/s: what it sends and what it receives; undefined: as fast as it goes. */
  async limit(
    host: Host,
    rate: { readonly up?: number | undefined; readonly down?: number | undefined },
  ): Promise<void> {
    await limitRate(host.namespace, 'eth0', rate.up);
    await limitRate(this.#switch, host.name, rate.down);
  }

  /** What a host's programs have sent has nearly arrived: the kernel keeps at most so much of a connection. */
  async boundSendBuffers(host: Host, maxBytes: number): Promise<void> {
    const script = `echo 4096 65536 ${maxBytes} > /proc/sys/net/ipv4/tcp_wmem`;
    await run('ip', ['netns', 'exec', host.namespace, 'sh', '-c', script]);
  }

  /** From now on not a frame passes its link, and nobody is told: no FIN, no reset, no carrier lost. */
  async cut(host: Host): Promise<void> {
    await run('bridge', ['-n', this.#switch, 'link', 'set', 'dev', host.name, 'state', DISABLED]);
  }

  async mend(host: Host): Promise<void> {
    await run('bridge', ['-n', this.#switch, 'link', 'set', 'dev', host.name, 'state', FORWARDING]);
  }

  /** Nothing passes between the hosts of one side and those of the other, silently; all others reach both. */
  async partition(left: readonly Host[], right: readonly Host[]): Promise<void> {
    const lines = ['set -e', ...['left', 'right'].map((side) => `ebtables -N ${side} -P RETURN`)];
    for (const [side, from, to] of [['left', left, right] as const, ['right', right, left] as const]) {
      lines.push(...from.map(({ name }) => `ebtables -A FORWARD -i ${name} -j ${side}`));
      lines.push(...to.map(({ name }) => `ebtables -A ${side} -o ${name} -j DROP`));
    }
    await this.#inSwitch(lines.join('\n'));
  }

  /** Ends every partition. */
  async heal(): Promise<void> {
    await this.#inSwitch('ebtables -F && ebtables -X');
  }

  async bytes(): Promise<ReadonlyMap<string, LinkBytes>> {
    const { stdout } = await run('ip', ['-n', this.#switch, '-s', '-j', 'link']);
    const links: { ifname: string; stats64?: { rx: { bytes: number }; tx: { bytes: number } } }[] = JSON.parse(stdout);
    const names = new Set(this.hosts.map(({ name }) => name));
    return new Map(
      links
        .filter(({ ifname }) => names.has(ifname))
        .map(({ ifname, stats64 }) => [ifname, { sent: stats64?.rx.bytes ?? 0, received: stats64?.tx.bytes ?? 0 }]),
    );
  }

  async #inSwitch(script: string): Promise<void> {
    await run('ip', ['netns', 'exec', this.#switch, 'sh', '-c', script]);
  }
}

async function batch(namespace: string | undefined, lines: readonly string[]): Promise<void> {
  const where = namespace === undefined ? [] : ['-n', namespace];
  await run('ip', [...where, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** A /24 that no interface of this machine has: other labs may run. */
function freeControlNetwork(): string {
  const taken = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  for (let i = 0; i < 256; i += 1) {
    const net = `10.86.${(process.pid + i) % 256}`;
    if (!taken.some((address) => address.startsWith(`${net}.`))) return net;
  }
  throw new Error('no network is free for the lab');
}
