import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { freePorts } from '../../src/demo/free-ports.ts';
import { peerIdOfBytes } from '../../src/routing/identity-peer-id.ts';
import { type Member, type SignedMember, WIRE_VERSION } from '../../src/routing/member.ts';
import { signMember } from '../../src/routing/member-entry.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { announcement, EvilAgent, NOTHING } from '../support/evil-agent.ts';
import { LIES } from '../support/evil-agent-blobs.ts';
import { answerText, type EvilRequest } from '../support/evil-agent-server.ts';
import { httpGet } from '../support/http-get.ts';
import { buildImage, digestOf, type Image, type ImageBlob } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const HONEST = 3;
const MIB = 1024 * 1024;
const REPOSITORY = 'library/hostile';
const SOURCE = `docker.io/${REPOSITORY}`;

describeWith('a member that lies', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let cluster: AgentCluster;
  let seeds: string[];
  let evil: EvilAgent;
  let images = 0;
  /** There are members that were made up; they go one by one. */
  let crowded = false;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    const ports = await freePorts(HONEST);
    seeds = ports.map((port) => `127.0.0.1:${port}`);
    cluster = await AgentCluster.start(scratch, {
      agents: HONEST,
      registries: { 'docker.io': registry.url },
      settings: { discovery: { kind: 'static', peers: seeds } },
      settingsOf: (index) => ({ p2p: { listen: [`/ip4/127.0.0.1/tcp/${ports[index]}`] } }),
    });
  });
  afterAll(() => scratch?.dispose());

  // Another one for each test: what is blamed is left out for a while.
  beforeEach(async () => {
    evil = await EvilAgent.start(scratch, { secretFile: cluster.secretFile, seeds });
    await eventually(() => evil.others.length === HONEST);
    await cluster.settled(HONEST);
  });
  afterEach(async () => {
    await evil.stop();
    if (!crowded) await cluster.settled(HONEST - 1);
    for (const agent of cluster.agents) {
      // Not the peak: while 100,000 digests are taken in twice, that is 264 MiB, for a moment.
      await eventually(async () => (await agent.memory()).rssBytes < 256 * MIB, { timeoutMs: 120_000 });
      expect(agent.logs().filter(({ level, msg }) => Number(level) >= 50 && msg !== 'ingest failed')).toEqual([]);
    }
  });

  /** One layer, kept by the liar or by an honest agent. */
  async function publish(
    kept: 'kept by it' | 'kept by others',
    layerBytes = 2.5 * MIB,
  ): Promise<Image & { layer: ImageBlob }> {
    for (;;) {
      images += 1;
      const image = buildImage({ seed: `hostile ${images}`, layerBytes: [layerBytes], gzip: false });
      const [layer] = image.layers;
      if (layer === undefined || evil.isKeeperOf(layer.digest) !== (kept === 'kept by it')) continue;
      await pushImage(registry.url, REPOSITORY, `v${images}`, image);
      await registry.forget();
      return { ...image, layer };
    }
  }

  /** A client that tries until it has the whole. What is whole must be right, at the first try as at the last. */
  async function get(agent: AgentProcess, kind: 'blobs' | 'manifests', { digest }: ImageBlob): Promise<void> {
    const url = `${agent.mirrorUrl}/v2/${REPOSITORY}/${kind}/${digest}?ns=docker.io`;
    let last = 'nothing yet';
    const answer = await eventually(
      async () => {
        const { status, end, bytes } = await httpGet(url, { signal: AbortSignal.timeout(60_000) });
        last = `${status}, ${end}, ${bytes.length} bytes`;
        return status === 200 && end === 'whole' && { bytes };
      },
      { timeoutMs: 90_000, what: () => `a blob: ${last}; the agent said:\n${agent.daemon.tail()}` },
    );
    expect(digestOf(answer.bytes)).toBe(digest);
  }

  async function getAll(agent: AgentProcess, { manifest, blobs }: Image): Promise<void> {
    await get(agent, 'manifests', manifest);
    await Promise.all(blobs.map((blob) => get(agent, 'blobs', blob)));
  }

  /** All at once. */
  async function everyoneGets(image: Image): Promise<void> {
    await Promise.all(cluster.agents.map((agent) => getAll(agent, image)));
  }

  async function askedUpstream({ digest }: ImageBlob): Promise<number> {
    return (await registry.counts())[`GET blob ${digest}`] ?? 0;
  }

  /** What nobody has seen is asked for once, if not at the first try. */
  async function onceAgain(): Promise<void> {
    await eventually(
      async () => {
        const image = await publish('kept by others');
        await everyoneGets(image);
        return (await askedUpstream(image.layer)) === 1;
      },
      { timeoutMs: 60_000, what: 'a blob to be asked for once' },
    );
  }

  function warningsOf({ peerId }: EvilAgent): string[] {
    return cluster.agents.flatMap((agent) =>
      agent.logs().flatMap(({ level, peer, msg }) => (Number(level) >= 40 && peer === peerId ? [String(msg)] : [])),
    );
  }

  /** Of those that named the liar so, who they are in the roster. */
  function whoLog(message: string): Member[] {
    return cluster.agents.flatMap((agent, index) =>
      agent.logs().some(({ msg, peer }) => msg === message && peer === evil.peerId)
        ? evil.others.filter(({ nodeName }) => nodeName === `node-${index}`)
        : [],
    );
  }

  /** Honest agents that say so in their logs. */
  function whoBlame(reason: string): AgentProcess[] {
    return cluster.agents.filter((agent) =>
      agent.logs().some((line) => line.peer === evil.peerId && line.reason === reason),
    );
  }

  /** By how many agents the gauge names it, now. */
  function namedAs(reason: string): Promise<number> {
    const { nodeName } = evil.roster.self;
    return cluster.metric('windlass_peers_left_out', { peer_node: nodeName, reason });
  }

  /** While something else goes on, after which it may be over. */
  async function isNamedAs(reason: string): Promise<void> {
    const what = `somebody to be named as ${reason}`;
    await eventually(async () => (await namedAs(reason)) > 0, { everyMs: 200, timeoutMs: 90_000, what });
  }

  it.each([
    ['wrong bytes that it vouches for', 'wrongBytes', 'wrong'],
    ['short bytes', 'shortBytes', 'wrong'],
    ['half, and breaks off', 'brokenOff', 'broken'],
    ['more than there is', 'tooLong', 'wrong'],
    ['less than there is, as if that were all', 'tooShort', 'wrong'],
    ['what are no frames', 'noFrames', 'wrong'],
    ['404', 'notThere', 'missing'],
    ['nothing', 'saysNothing', 'silent'],
    ['a byte a second', 'oneByteASecond', 'silent'],
    ['that it waits, for ever', 'waitsForEver', 'silent'],
  ] as const)('says that it holds a blob, and sends %s', async (_, lie, reason) => {
    const blamed = await cluster.metric('windlass_peer_blamed_total', { reason });
    const first = await publish('kept by others');
    evil.blobLie = LIES[lie];
    await evil.claimToHold([first.layer], SOURCE);
    // What may happen to any peer is no reason to leave it out: not at the first time.
    const isLie = reason === 'wrong' || reason === 'missing';
    await Promise.all([everyoneGets(first), isLie && isNamedAs(reason)]);
    expect(evil.asked).not.toEqual([]);
    expect(await askedUpstream(first.layer)).toBeLessThanOrEqual(2);
    const blaming = whoBlame(reason);
    expect(blaming).not.toEqual([]);
    expect(await cluster.metric('windlass_peer_blamed_total', { reason })).toBeGreaterThanOrEqual(
      blamed + blaming.length,
    );
  });

  it.each([
    ['wrong bytes', 'wrongBytes', 'wrong', 1],
    ['nothing', 'saysNothing', 'silent', 2],
    ['a byte a second', 'oneByteASecond', 'silent', 2],
    ['that it waits, for ever', 'waitsForEver', 'silent', 2],
  ] as const)('is left out for a while by whom it sent %s', async (_, lie, reason, times) => {
    const [agent] = cluster.agents;
    if (agent === undefined) throw new Error('no agents');
    evil.blobLie = LIES[lie];
    const pullOne = async () => {
      const image = await publish('kept by others');
      await evil.claimToHold([image.layer], SOURCE);
      await get(agent, 'manifests', image.manifest);
      await get(agent, 'blobs', image.layer);
    };
    // Keepers name others for a moment after each complaint.
    for (let i = 0; i < 20 && (await namedAs(reason)) === 0; i += 1) await pullOne();
    expect(await namedAs(reason)).toBe(1);
    const asked = evil.asked.length;
    expect(asked).toBeGreaterThanOrEqual(times);
    for (let i = 0; i < 2; i += 1) await pullOne();
    expect(evil.asked).toHaveLength(asked);
    expect(whoBlame(reason)).toEqual([agent]);
  });

  const stranger = () => `12D3KooW${randomBytes(22).toString('hex')}`;
  const isClaim = (body: unknown) => JSON.stringify(body).startsWith('{"type":"claim"');
  const claimLies: Record<string, (request: EvilRequest) => unknown> = {
    'what is no JSON': (request) => answerText(request, '{"kind":'),
    'another schema': () => ({ kind: 'banana', parents: 7 }),
    'that it be read itself, which holds nothing': () => {
      return { kind: 'read', parents: [{ peerId: evil.peerId, dataAddress: evil.dataAddress, role: 'holder' }] };
    },
    'that strangers be read': () => {
      const parents = Array.from({ length: 16 }, () => ({ peerId: stranger(), role: 'relay' }));
      return { kind: 'read', parents: parents.map((parent) => ({ ...parent, dataAddress: '127.0.0.1:1' })) };
    },
    'wrong bytes': () => ({ kind: 'bytes', bytes: Buffer.alloc(500).toString('base64'), ageMs: 0 }),
  };

  it.each(Object.keys(claimLies))('keeps a blob, and answers claims with %s', async (what) => {
    const image = await publish('kept by it', what === 'wrong bytes' ? 20_000 : undefined);
    let lies = 0;
    evil.callLies.claims = (body, request) => {
      if (!isClaim(body) || !JSON.stringify(body).includes(image.layer.digest)) return 'honest';
      lies += 1;
      return claimLies[what]?.(request);
    };
    const refused = await cluster.metric('windlass_peer_refused_total', { reason: 'nonsense' });
    await Promise.all([everyoneGets(image), isNamedAs('nonsense')]);
    expect(lies).toBeGreaterThan(0);
    expect(await askedUpstream(image.layer)).toBeLessThanOrEqual(2);
    expect(await cluster.metric('windlass_peer_refused_total', { reason: 'nonsense' })).toBeGreaterThan(refused);
    expect(warningsOf(evil)).toContainEqual(expect.stringMatching(/^peer answers claims with nonsense: left out/));
    // Left out: what it keeps is claimed elsewhere for a while.
    const [agent] = whoLog('peer answers claims with nonsense: left out for a while');
    const another = await publish('kept by it');
    lies = 0;
    evil.callLies.claims = (body, { from }) => {
      if (isClaim(body) && from === agent?.peerId && JSON.stringify(body).includes(another.layer.digest)) lies += 1;
      return 'honest';
    };
    await everyoneGets(another);
    expect(lies).toBe(0);
  });

  it('sends claims that make no sense: is named by all, not listened to for a while, and pulls go on', async () => {
    const recall = { type: 'recall', key: `blob:${digestOf(Buffer.from('whatever'))}` };
    expect(await evil.tellAll('claims', recall)).toBe(HONEST);
    for (let i = 0; i < 3; i += 1) expect(await evil.tellAll('claims', { type: 'banana' })).toBe(0);
    expect(await namedAs('nonsense')).toBe(HONEST);
    expect(await evil.tellAll('claims', recall)).toBe(0);
    await everyoneGets(await publish('kept by others'));
  });

  const honestLooking: readonly (readonly [string, () => unknown])[] = [
    ['write, to everybody', () => ({ kind: 'write', grant: stranger(), leaseMs: 5_000 })],
    ['nothing', () => NOTHING],
  ];
  it.each(honestLooking)('keeps a blob, and answers claims with %s: nobody gets wrong bytes', async (_, lie) => {
    const image = await publish('kept by it');
    evil.callLies.claims = (body) =>
      isClaim(body) && JSON.stringify(body).includes(image.layer.digest) ? lie() : 'honest';
    await everyoneGets(image);
    // What such a keeper can do is have each agent ask for itself.
    expect(await askedUpstream(image.layer)).toBeLessThanOrEqual(HONEST);
  });

  it('advertises 100,000 digests, reports 100,000 failures, and claims: memory is bounded, nothing that others hold is lost, and pulls go on', async () => {
    const [holder, ...without] = cluster.agents;
    if (holder === undefined) throw new Error('no agents');
    const held: Image[] = [];
    for (let i = 0; i < 5; i += 1) held.push(await publish('kept by others', 200_000));
    for (const image of held) await getAll(holder, image);
    const digests = Array.from({ length: 100_000 }, () => `sha256:${randomBytes(32).toString('hex')}`);
    const { incarnation } = evil.identity;
    await evil.tellAll('index', announcement(digests));
    await evil.tellAll('index', { ...announcement(digests), full: true });
    for (const state of ['held', 'writing', 'failed'] as const) {
      for (let at = 0; at < (state === 'failed' ? digests.length : 5_000); at += 1_000) {
        const reports = digests.slice(at, at + 1_000).map((digest) => {
          return { key: `blob:${digest}`, incarnation, source: SOURCE, grant: `${digest}.1`, state, code: 'NOT_FOUND' };
        });
        await evil.tellAll('claims', { type: 'reports', reports });
      }
    }
    const failed = evil.others.map(({ peerId }) => ({ peerId, why: 'wrong' }));
    for (const digest of digests.slice(0, 300)) {
      const claim = { type: 'claim', key: `blob:${digest}`, incarnation, source: SOURCE, prefix: 0, failed };
      await evil.tellAll('claims', { ...claim, inline: false, waitMs: 0, zone: '' });
    }
    // Agents that are still busy with it may miss each other's answers.
    const image = await publish('kept by others');
    await everyoneGets(image);
    expect(await askedUpstream(image.layer)).toBeLessThanOrEqual(HONEST);
    await onceAgain();
    // If not at the first try: it has complained of everybody, and who is complained of is not named for a moment.
    await eventually(
      async () => {
        const image = held.pop();
        if (image === undefined) return false;
        await registry.forget();
        for (const agent of without) await getAll(agent, image);
        return Object.keys(await registry.counts()).length === 0;
      },
      { everyMs: 8_000, timeoutMs: 120_000, what: 'what another agent holds to be read from it alone' },
    );
  }, 600_000);

  it('says that everybody is dead, and that there are hundreds of others: nobody is lost, and pulls go on', async () => {
    const dead = evil.others.map(({ peerId, incarnation, sequence }) => [peerId, incarnation, sequence]);
    for (let i = 0; i < 5; i += 1) await evil.tellAll('roster', { type: 'mend', give: [], want: [], dead });
    const image = await publish('kept by others');
    await everyoneGets(image);
    expect(await askedUpstream(image.layer)).toBeLessThanOrEqual(2);
    await onceAgain();
    const made = madeUpMembers(300);
    crowded = true;
    // All of them take it; one that is busy may do so at the next try.
    const tellOf = () => evil.tellAll('roster', { type: 'mend', give: made, want: [], dead: [] });
    await eventually(async () => (await tellOf()) === HONEST, { timeoutMs: 120_000, what: 'all to be told' });
    const another = await publish('kept by others');
    await everyoneGets(another);
    // Where all of a blob's keepers are made up, each agent asks for itself.
    expect(await askedUpstream(another.layer)).toBeLessThanOrEqual(HONEST);
  });
});

/** Signed as they should be, by keys of their own; and nobody is there. */
function madeUpMembers(count: number): SignedMember[] {
  return Array.from({ length: count }, (_, i) => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const peerId = peerIdOfBytes(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
    const member = {
      peerId,
      incarnation: 1,
      sequence: 1,
      nodeName: `made-up-${i}`,
      zone: '',
      dataAddress: '127.0.0.1:1',
      p2pAddresses: ['/ip4/127.0.0.1/tcp/1'],
      wireVersion: WIRE_VERSION,
      leaving: false,
    };
    return signMember(member, (bytes) => sign(null, bytes, privateKey)).signed;
  });
}
