import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePorts } from '../../src/demo/free-ports.ts';
import { WIRE_VERSION } from '../../src/routing/member.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage, type Image } from '../support/image.ts';
import { InProcessAgent } from '../support/in-process-agent.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const OLDER = WIRE_VERSION - 1;
const NEWER = WIRE_VERSION + 1;

describeWith('agents of neighbouring wire versions', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let secretFile: string;
  let clusters = 0;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    secretFile = scratch.join('secret');
    await writeFile(secretFile, randomBytes(32).toString('hex'), { mode: 0o600 });
  });
  afterAll(() => scratch?.dispose());

  /** One agent a version; each knows the addresses of all. */
  async function start(versions: readonly number[]): Promise<InProcessAgent[]> {
    clusters += 1;
    const ports = await freePorts(versions.length);
    return Promise.all(
      versions.map(async (wireVersion, index) => {
        const agent = await InProcessAgent.create({
          folder: scratch.join(`cluster-${clusters}`, `agent-${index}`),
          settings: {
            node: { name: `speaks-${wireVersion}` },
            cluster: { secretFile: [secretFile] },
            p2p: { listen: [`/ip4/127.0.0.1/tcp/${ports[index]}`] },
            discovery: { kind: 'static', peers: ports.map((port) => `127.0.0.1:${port}`) },
            registries: [{ host: 'docker.io', endpoint: registry.url }],
            stop: { gracePeriod: '1s' },
          },
          wireVersion,
        });
        scratch.defer(() => agent.agent.stop());
        await agent.agent.start();
        return agent;
      }),
    );
  }

  async function publish(seed: string): Promise<Image> {
    const image = buildImage({ seed, layerBytes: [3 * MIB, 200_000, 100], gzip: false, index: true });
    await pushImage(registry.url, `library/${seed}`, 'v1', image);
    await registry.forget();
    return image;
  }

  const known = (agent: InProcessAgent) => (agent.agent.cluster?.others ?? []).map(({ nodeName }) => nodeName).sort();

  it('pull from each other, both ways, and upstream is asked once', async () => {
    const agents = await start([OLDER, WIRE_VERSION]);
    await eventually(() => agents.every((agent) => known(agent).length === 1));
    for (const [turn, order] of [agents, [...agents].reverse()].entries()) {
      const image = await publish(`turn${turn}`);
      for (const [nth, agent] of order.entries()) {
        expect((await pullImage(agent, `library/turn${turn}`, 'v1', image)).faults).toEqual([]);
        // The second one had all of it from the first.
        if (nth === 0) await registry.forget();
      }
      expect(await registry.counts()).toEqual({});
    }
    const image = await publish('together');
    const pulls = await Promise.all(agents.map((agent) => pullImage(agent, 'library/together', 'v1', image)));
    expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    expect(Object.values(await registry.counts()).every((count) => count === 1)).toBe(true);
  });

  it('two versions apart know nothing of each other, at hellos and by hearsay, and both say why', async () => {
    const [older, between, newer] = await start([OLDER, WIRE_VERSION, NEWER]);
    if (older === undefined || between === undefined || newer === undefined) throw new Error('three were started');
    const names = [OLDER, WIRE_VERSION, NEWER].map((version) => `speaks-${version}`);
    await eventually(() => known(between).length === 2);
    await eventually(() => known(older).length === 1 && known(newer).length === 1);
    const says = (agent: InProcessAgent, msg: string, fields: object) =>
      eventually(
        () => {
          expect(agent.logs).toContainEqual(expect.objectContaining({ msg, ...fields }));
          return true;
        },
        { timeoutMs: 60_000, what: () => `${msg}: ${JSON.stringify(agent.logs.slice(-20))}` },
      );
    for (const [agent, own, other] of [
      [older, OLDER, NEWER],
      [newer, NEWER, OLDER],
    ] as const) {
      const why = expect.stringContaining(`wire version ${other}, this agent ${own}`);
      await says(agent, 'connection of another refused', { reason: 'version', why });
      // The one between has told of both.
      await says(agent, 'an agent is left out: its wire version is too far from ours', {
        peer: `speaks-${other}`,
        wireVersion: other,
        own,
      });
      expect(known(agent)).toEqual([names[1]]);
    }
    expect(known(between)).toEqual([names[0], names[2]].sort());
  });
});
