import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DnsServer } from '../support/dns-server.ts';
import { eventually } from '../support/eventually.ts';
import { describeWith } from '../support/requires.ts';
import { expectOnce } from './lab/expect-once.ts';
import { Lab } from './lab/lab.ts';
import type { LabNode } from './lab/lab-node.ts';
import { labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';

const MIB = 1024 * 1024;
const NODES = 3;
/** All that an agent is told of the others. */
const NAME = 'peers.lab.test';
const PORT = 6052;
/** In the agents' logs. */
const READY = 'agent is ready';
const UNANSWERED = 'discovery: the name cannot be looked up';

/** Where each of them listens, and how the name says so. */
const KINDS = [
  {
    kind: 'A records, and one port for all',
    portOf: () => PORT,
    publish(dns: DnsServer, nodes: readonly LabNode[]) {
      dns.behaviour = { a: nodes.map(({ host }) => host.address) };
    },
  },
  {
    kind: 'SRV records, with a port of each',
    portOf: (node: number) => PORT + 1 + node,
    publish(dns: DnsServer, nodes: readonly LabNode[]) {
      const targetOf = ({ name }: LabNode) => `${name}.${NAME}`;
      for (const node of nodes) dns.byName.set(targetOf(node), { a: [node.host.address] });
      dns.behaviour = { srv: nodes.map((node, i) => ({ name: targetOf(node), port: PORT + 1 + i })) };
    },
  },
];

for (const { kind, portOf, publish } of KINDS) {
  describeWith(`agents that know each other by a DNS name alone: ${kind}`, labMissing, () => {
    let lab: Lab;
    let dns: DnsServer;

    beforeAll(async () => {
      dns = new DnsServer();
      lab = await Lab.start({
        nodes: NODES,
        agents: 0,
        upstreamRate: 100,
        dns,
        settings: (node, { address }) => ({
          p2p: { listen: [`/ip4/${address}/tcp/${portOf(node)}`] },
          discovery: { kind: 'dns', peers: [], dns: { name: NAME, port: PORT } },
        }),
      });
    });
    afterEach(async ({ task }) => {
      if (task.result?.state === 'fail') await lab.saveLogs(`dns ${kind} ${task.name}`);
    });
    afterAll(() => lab?.dispose());

    test('one that starts alone is ready before the name server has said anything, and serves', async () => {
      dns.behaviour = 'silent';
      const { agent } = lab.node(0);
      await agent.start();
      const { byTag } = await lab.image({ layerBytes: [MIB] });
      await lab.node(0).pull(byTag).done;

      const inOrder = () => agent.logs().flatMap(({ msg }) => (msg === READY || msg === UNANSWERED ? [msg] : []));
      await eventually(() => inOrder().includes(UNANSWERED));
      expect(inOrder()).toEqual([READY, UNANSWERED]);
      expect(dns.asked).toContain(NAME);
    });

    test('a second one is alone as well while the name has no records, and then they meet', async () => {
      dns.behaviour = 'nxdomain';
      await lab.node(1).agent.start();
      const before = dns.asked.length;
      await eventually(() => dns.asked.length >= before + 4, { what: 'both to ask again' });
      expect(await lab.metric('windlass_peers')).toBe(0);

      publish(dns, lab.nodes.slice(0, 2));
      await lab.settled();
      expect(await lab.metric('windlass_peers')).toBe(2);
    });

    test('a third one joins them, and all pull at once: upstream gives it once', async () => {
      await lab.node(2).agent.start();
      publish(dns, lab.nodes);
      await lab.settled();
      const image = await lab.image({ layerBytes: [9 * MIB, 4 * MIB, 2 * MIB, 30_000] });

      await (await Scene.start(lab, image)).finish();

      expectOnce(await lab.registry.report(), [image.image]);
    });
  });
}
