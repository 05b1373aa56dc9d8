import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { httpGet } from '../support/http-get.ts';
import { buildImage, digestOf, type Image } from '../support/image.ts';
import { pullImage } from '../support/pull-image.ts';
import { Scratch } from '../support/scratch.ts';
import { SpecRegistry } from '../support/spec-registry.ts';

const MIB = 1024 * 1024;
const ALICE = 'alice:her-password';
const BOB = 'bob:his-password';
/** Of the agents, in this order. */
const ACCOUNTS = [undefined, undefined, ALICE, ALICE, BOB];

/** Whoever may read there, by the first part of a repository's name. */
const OPEN_TO: Readonly<Record<string, readonly (string | undefined)[]>> = {
  public: [undefined, ALICE, BOB],
  team: [ALICE, BOB],
  alice: [ALICE],
};

describe('agents with different credentials, and one without', () => {
  let scratch: Scratch;
  let registry: SpecRegistry;
  let cluster: AgentCluster;
  let anonymous: AgentProcess;
  let another: AgentProcess;
  let alice: AgentProcess;
  let alices: AgentProcess;
  let bob: AgentProcess;
  let images = 0;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await SpecRegistry.start(scratch, {
      opens: (account, repository) => OPEN_TO[repository.split('/', 1)[0] ?? '']?.includes(account) ?? false,
    });
    const credentials = ACCOUNTS.map((account, index) => {
      const [username = '', password = ''] = account?.split(':') ?? [];
      return account === undefined ? {} : { username, password, passwordFile: scratch.join(`password-${index}`) };
    });
    for (const { passwordFile, password } of credentials) {
      if (passwordFile !== undefined) await writeFile(passwordFile, password);
    }
    cluster = await AgentCluster.start(scratch, {
      agents: ACCOUNTS.length,
      registries: {},
      // However long a test takes: a tag is asked for once by whoever knows of it.
      settings: { tags: { maxAge: '1h' } },
      settingsOf: (index) => {
        const { username, passwordFile } = credentials[index] ?? {};
        const own = passwordFile === undefined ? {} : { credentials: { username, passwordFile } };
        return { registries: [{ host: 'docker.io', endpoint: registry.url, ...own }] };
      },
    });
    [anonymous, another, alice, alices, bob] = [0, 1, 2, 3, 4].map((index) => cluster.agent(index)) as [
      AgentProcess,
      AgentProcess,
      AgentProcess,
      AgentProcess,
      AgentProcess,
    ];
  });
  afterAll(() => scratch?.dispose());
  beforeEach(() => void registry.answered.splice(0));

  function publish(repository: string): Image {
    images += 1;
    const image = buildImage({ seed: `credentials ${images}`, layerBytes: [2 * MIB], gzip: false });
    registry.add(repository, ['v1'], image);
    return image;
  }

  /** What was asked and opened, by whom: `HEAD manifests/v1 as alice`. */
  function opened(): string[] {
    return answeredWith((status) => status < 300);
  }

  function refused(): string[] {
    return answeredWith((status) => status >= 400);
  }

  function answeredWith(wanted: (status: number) => boolean): string[] {
    return registry.answered
      .filter(({ path, status }) => path !== '/v2/' && wanted(status))
      .map(({ method, path, account }) => {
        const [target, kind] = path.split('/').reverse();
        return `${method} ${kind}/${target} as ${account?.split(':', 1)[0] ?? 'nobody'}`;
      });
  }

  /** What one pull asks upstream for, in the order of the alphabet. */
  function all({ manifest, blobs }: Image, as: string, tag?: string): string[] {
    const gets = [`manifests/${manifest.digest}`, ...blobs.map(({ digest }) => `blobs/${digest}`)];
    return [...(tag === undefined ? [] : [`HEAD manifests/${tag}`]), ...gets.map((what) => `GET ${what}`)]
      .map((what) => `${what} as ${as}`)
      .sort();
  }

  function ask(agent: AgentProcess, repository: string, what: string, method = 'GET') {
    return httpGet(`${agent.mirrorUrl}/v2/${repository}/${what}?ns=docker.io`, { method });
  }

  it('those without share what a tag names; who has some asks for itself, where all may read as well', async () => {
    const image = publish('public/one');
    for (const agent of [anonymous, another]) {
      expect((await pullImage(agent, 'public/one', 'v1', image)).faults).toEqual([]);
    }
    expect(opened().sort()).toEqual(all(image, 'nobody', 'v1'));
    registry.answered.length = 0;
    expect((await pullImage(alice, 'public/one', 'v1', image)).faults).toEqual([]);
    expect(opened()).toEqual([expect.stringMatching(/^HEAD manifests\/v1 as /)]);
  });

  it('those with the same share what a tag names, and all that it leads to', async () => {
    const image = publish('team/same');
    const pulls = await Promise.all([alice, alices].map((agent) => pullImage(agent, 'team/same', 'v1', image)));
    expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    expect(opened().sort()).toEqual(all(image, 'alice', 'v1'));
  });

  it('who has others asks for itself what a tag names, and reads from them what that is', async () => {
    const image = publish('team/others');
    for (const agent of [alice, bob]) {
      expect((await pullImage(agent, 'team/others', 'v1', image)).faults).toEqual([]);
    }
    expect(opened().sort()).toEqual([...all(image, 'alice', 'v1'), 'HEAD manifests/v1 as bob'].sort());
  });

  it.each([
    ['without any', () => anonymous, 'nobody'],
    ['with others', () => bob, 'bob'],
  ] as const)('who is refused (%s) gets by tag nothing that others know', async (_, agentOf, name) => {
    const repository = `alice/hers-${name}`;
    const image = publish(repository);
    for (const agent of [alice, alices]) {
      expect((await pullImage(agent, repository, 'v1', image)).faults).toEqual([]);
    }
    registry.answered.length = 0;
    for (const method of ['HEAD', 'GET']) {
      expect((await ask(agentOf(), repository, 'manifests/v1', method)).status).toBe(404);
    }
    expect(opened()).toEqual([]);
    // By its own question: nobody else was asked for it.
    expect(new Set(refused())).toContain(`HEAD manifests/v1 as ${name}`);
    expect(refused().filter((line) => line.includes('alice'))).toEqual([]);
  });

  // README, "What it promises": whoever knows the digest of a blob that is held can read it.
  it('who is refused gets by digest what others hold, and upstream hears nothing of it', async () => {
    const image = publish('alice/held');
    expect((await pullImage(alice, 'alice/held', 'v1', image)).faults).toEqual([]);
    registry.answered.length = 0;
    expect((await pullImage(anonymous, 'alice/held', image.top.digest, image)).faults).toEqual([]);
    expect(registry.answered).toEqual([]);
  });

  it('who is refused by digest what nobody holds gets 404; then who is not gets the whole, by one GET of each', async () => {
    const image = publish('alice/first');
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('no layer');
    const gets = [`manifests/${image.manifest.digest}`, `blobs/${layer.digest}`];
    for (const what of gets) expect((await ask(anonymous, 'alice/first', what)).status).toBe(404);
    expect(opened()).toEqual([]);
    for (const what of gets) expect(refused()).toContain(`GET ${what} as nobody`);
    expect((await pullImage(alice, 'alice/first', 'v1', image)).faults).toEqual([]);
    expect(opened().sort()).toEqual(all(image, 'alice', 'v1'));
  });

  it('who is refused at the same moment does not stand in the way of who is not', async () => {
    const image = publish('alice/both');
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('no layer');
    const [mine, hers] = await Promise.all([
      ask(anonymous, 'alice/both', `blobs/${layer.digest}`),
      pullImage(alice, 'alice/both', 'v1', image),
    ]);
    expect(hers.faults).toEqual([]);
    expect(opened().sort()).toEqual(all(image, 'alice', 'v1'));
    // Whichever of them came first: refused, or the right bytes from who had them.
    if (mine.status !== 404) expect([mine.status, digestOf(mine.bytes)]).toEqual([200, layer.digest]);
  });
});
