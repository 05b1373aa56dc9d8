import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts } from '../../src/demo/free-ports.ts';
import { eventually } from '../support/eventually.ts';
import { FakeKubeApi, SERVICE } from '../support/fake-kube-api.ts';
import { InProcessAgent } from '../support/in-process-agent.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

describeWith('agents that find each other by Kubernetes', [commandsMissing('openssl')], () => {
  let scratch: Scratch;
  let api: FakeKubeApi;
  const agents: InProcessAgent[] = [];

  beforeAll(async () => {
    scratch = await Scratch.create();
    api = await FakeKubeApi.start(scratch);
    await api.stop();
    const secretFile = scratch.join('secret');
    await writeFile(secretFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const ports = await freePorts(2);
    for (const [index, port] of ports.entries()) {
      const name = `n${index + 1}`;
      const agent = await InProcessAgent.create({
        folder: scratch.join(name),
        settings: {
          // The first one has to find out its zone.
          node: index === 0 ? { name } : { name, zone: 'as-written' },
          cluster: { secretFile: [secretFile] },
          p2p: { listen: [`/ip4/127.0.0.1/tcp/${port}`] },
          discovery: { kind: 'kubernetes', kubernetes: { service: SERVICE, port: 'p2p' } },
          stop: { gracePeriod: '1s' },
        },
        podRoot: api.root,
      });
      scratch.defer(() => agent.agent.stop());
      agents.push(agent);
      // A slice has one number for a port: these two agents are on one machine, so each has its own.
      api.set({
        metadata: { name, labels: { 'kubernetes.io/service-name': SERVICE } },
        addressType: 'IPv4',
        ports: [{ name: 'p2p', port }],
        endpoints: [{ addresses: ['127.0.0.1'], conditions: { serving: true }, nodeName: name, zone: `zone-${name}` }],
      });
    }
  });
  afterAll(() => scratch?.dispose());

  const peers = (agent: InProcessAgent) =>
    agent.agent.cluster?.others.map(({ nodeName, zone }) => `${nodeName} ${zone}`);
  const become = (agent: InProcessAgent | undefined, wanted: string[]) =>
    eventually(() => agent !== undefined && peers(agent)?.join() === wanted.join(), {
      timeoutMs: 60_000,
      what: () => `${wanted}; said ${agent?.logs.map((line) => JSON.stringify(line)).join('\n')}`,
    });

  test('start and serve while the API server cannot be reached, and say so', async () => {
    await Promise.all(agents.map(({ agent }) => agent.start()));
    for (const agent of agents) {
      expect((await fetch(`http://${agent.agent.statusAddress}/readyz`)).status).toBe(200);
      await eventually(
        () => agent.logs.some(({ msg }) => String(msg).startsWith('discovery: the EndpointSlices cannot')),
        {
          what: 'a warning',
        },
      );
      expect(peers(agent)).toEqual([]);
    }
  });

  test('find each other when it can, and each knows its own zone: by its settings, else by its endpoint', async () => {
    await api.listen();
    const [first, second] = agents;
    await become(first, ['n2 as-written']);
    await become(second, ['n1 zone-n1']);
    const status = await fetch(`http://${first?.agent.statusAddress}/status`);
    expect(await status.json()).toMatchObject({ node: 'n1', zone: 'zone-n1', discovery: 'kubernetes' });
    expect(second?.agent.cluster?.roster.self.zone).toBe('as-written');
  });

  test('stay together when it is gone again, or says that nobody is there', async () => {
    await api.stop();
    api.remove('n2');
    api.remove('n1');
    const [first, second] = agents;
    await api.listen();
    await eventually(() => api.openWatches === 2, { timeoutMs: 60_000, what: 'both to watch again' });
    // Time enough to be told, and to forget each other.
    await sleep(1_000);
    await become(first, ['n2 as-written']);
    await become(second, ['n1 zone-n1']);
    expect(first?.agent.cluster?.roster.self.zone).toBe('zone-n1');
  });
});
