import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildImage, type DemoImage } from '../../src/demo/image.ts';
import { DemoRegistry } from '../../src/demo/registry.ts';
import type { AgentStatus } from '../../src/status/agent-status.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { Scratch } from '../support/scratch.ts';
import { type Ended, run, start } from '../unit/cli/child.ts';

/** What a terminal's commands begin with. */
const ESC = '\u001b';
const WINDLASS = fileURLToPath(new URL('../../src/windlass.js', import.meta.url));
const HOST = 'registry.example';
const MIB = 1024 * 1024;

describe('windlass status and windlass drop', () => {
  let scratch: Scratch;
  let image: DemoImage;
  let registry: DemoRegistry;
  let agent: AgentProcess;

  beforeAll(async () => {
    scratch = await Scratch.create();
    image = buildImage([1, 24]);
    registry = new DemoRegistry({ repositories: [{ image, repository: 'a/b', tag: '1' }] });
    const url = await registry.start();
    scratch.defer(() => registry.stop());
    agent = await AgentProcess.start(scratch, {
      registries: { [HOST]: url },
      // The registry is held while a transfer is looked at: that is no stall.
      settings: { node: { name: 'node-1', zone: 'zone-a' }, upstream: { stallTimeout: '5m' } },
    });
  });
  afterAll(() => scratch?.dispose());

  const windlass = (...args: string[]): Promise<Ended> =>
    run(process.execPath, [WINDLASS, ...args], { cwd: scratch.path });
  const pull = async (path: string): Promise<Buffer> => {
    const response = await fetch(`${agent.mirrorUrl}/v2/a/b/${path}?ns=${HOST}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(response.status).toBe(200);
    return bytes;
  };
  const largest = () => image.blobs.reduce((a, b) => (a.bytes.length > b.bytes.length ? a : b));
  const smallest = () => image.blobs.reduce((a, b) => (a.bytes.length < b.bytes.length ? a : b));
  const status = async (): Promise<AgentStatus> => {
    const { code, stdout, stderr } = await windlass('status', '--json', '--url', agent.statusUrl);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  };

  test('an agent that has done nothing yet', async () => {
    expect(await status()).toMatchObject({
      node: 'node-1',
      zone: 'zone-a',
      ready: true,
      discovery: 'none',
      peerId: null,
      peers: [],
      transfers: [],
      totals: { hitRate: null, upstreamBytes: 0 },
      store: { blobs: 0, sizeBytes: 0 },
    });
    const { stdout } = await windlass('status', '--url', agent.statusUrl.replace('http://', ''));
    expect(stdout).toMatch(/^node-1 \(zone zone-a\) {2}ready, up \d+ s, windlass \d/);
    expect(stdout).toMatch(/nothing is on its way in/);
  });

  test('a transfer is shown while it lasts, in a plain block each second where there is no terminal', async () => {
    await pull(`manifests/${image.index.digest}`);
    await pull(`manifests/${image.manifest.digest}`);
    const watching = start(process.execPath, [WINDLASS, 'status', '--watch', '--url', agent.statusUrl], {
      cwd: scratch.path,
    });
    registry.hold(largest().digest, largest().bytes.length / 2);
    const pulled = pull(`blobs/${largest().digest}`);
    const short = largest().digest.slice('sha256:'.length, 'sha256:'.length + 12);
    await watching.untilStdout(
      new RegExp(`Transfers: 1[\\s\\S]*${short} █*░+ +\\d+% .* of 24\\.0 MiB\\n.*read by 1 client`),
    );
    registry.release();
    expect(await pulled).toHaveLength(largest().bytes.length);
    await watching.untilStdout(/Transfers: 0[\s\S]*Transfers: 1[\s\S]*Transfers: 0|Transfers: 1[\s\S]*Transfers: 0/);
    watching.kill('SIGINT');
    const { code, stdout, stderr } = await watching.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(stripVTControlCharacters(stdout));
  });

  test.each([
    [
      'draws over what it has drawn',
      'stty rows 40 cols 100; exec',
      new RegExp(`node-1[\\s\\S]*${ESC}\\[\\d*A[\\s\\S]*node-1`),
    ],
    [
      'that has no size prints one below the other',
      'stty rows 0 cols 0; exec',
      new RegExp(`node-1[^${ESC}]*\\n\\r?\\n[^${ESC}]*node-1`),
    ],
  ])('in a terminal --watch %s', async (_what, size, expected) => {
    const command = `${size} ${process.execPath} ${WINDLASS} status --watch --url ${agent.statusUrl}`;
    const env = { ...process.env, TERM: 'xterm', NO_COLOR: '1' };
    const watching = start('script', ['-qefc', command, '/dev/null'], { cwd: scratch.path, env });
    try {
      await watching.untilStdout(expected);
    } finally {
      watching.kill('SIGTERM');
      await watching.ended;
    }
  });

  test('totals and hit rate are those of what was pulled', async () => {
    await pull(`blobs/${largest().digest}`);
    const { totals, store } = await status();
    const manifests = image.index.bytes.length + image.manifest.bytes.length;
    expect(totals).toMatchObject({
      upstreamBytes: largest().bytes.length + manifests,
      savedBytes: largest().bytes.length,
      hitRate: 1 / 4,
      requests: { store: 1, upstream: 3 },
    });
    expect(totals.byteHitRate).toBeCloseTo(0.5, 3);
    expect(store).toMatchObject({ blobs: 3, sizeBytes: largest().bytes.length + manifests });
  });

  test('with --watch --json each line is one', async () => {
    const watching = start(process.execPath, [WINDLASS, 'status', '--watch', '--json', '--url', agent.statusUrl], {
      cwd: scratch.path,
    });
    await watching.untilStdout(/\n.*\n/);
    watching.kill('SIGTERM');
    const lines = (await watching.ended).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).node)).toEqual(lines.map(() => 'node-1'));
  });

  test('the status port is found by the settings', async () => {
    const ended = await windlass('status', `--status.listen=127.0.0.1:${agent.statusPort}`);
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^node-1/) });
    expect(await readdir(scratch.path), 'nothing is made').not.toContain('.windlass');
  });

  test.each([
    ['nobody listens', '127.0.0.1:1', /no agent answers at http:\/\/127\.0\.0\.1:1 \(ECONNREFUSED\); --url says where/],
    ['something else listens', undefined, /no agent answers at http:.* \(what answers is no agent/],
    ['the address is none', 'http://', /--url: no address/],
  ])('%s: that is said in a line', async (_name, url, message) => {
    const { code, stdout, stderr } = await windlass('status', '--url', url ?? agent.mirrorUrl);
    expect({ code: code === 0, stdout }).toEqual({ code: false, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('a blob is dropped by its digest, and fetched anew when it is asked for again', async () => {
    const { digest, bytes } = smallest();
    await pull(`blobs/${digest}`);
    const asked = registry.counts().requests['GET blob'] ?? 0;
    const { code, stdout, stderr } = await windlass('drop', digest, '--store.path', agent.storePath);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      new RegExp(`^${digest}\\n {2}node-1 \\(this node\\) {2}removed: blob, ${bytes.length} B\\n$`),
    );
    expect(await pull(`blobs/${digest}`)).toEqual(bytes);
    expect(registry.counts().requests['GET blob']).toBe(asked + 1);

    await windlass('drop', digest, '--store.path', agent.storePath);
    const again = await windlass('drop', '--local', digest, '--store.path', agent.storePath);
    expect(again).toMatchObject({ code: 0, stdout: `${digest}\n  not held (1 node asked)\n` });
  });

  test('a tag is dropped by its name, and checked upstream when it is asked for again', async () => {
    const head = () => fetch(`${agent.mirrorUrl}/v2/a/b/manifests/1?ns=${HOST}`, { method: 'HEAD' });
    await head();
    await head();
    expect(registry.counts().requests['HEAD tag']).toBe(1);
    const { stdout } = await windlass('drop', `${HOST}/a/b:1`, '--store.path', agent.storePath);
    expect(stdout).toBe(`${HOST}/a/b:1\n  node-1 (this node)  removed: tag\n`);
    expect((await head()).status).toBe(200);
    expect(registry.counts().requests['HEAD tag']).toBe(2);
  });

  test.each([
    ['what is neither digest nor tag', ['redis:7'], /neither a digest nor a tag: "redis:7"/],
    [
      'no agent',
      ['docker.io/library/redis:7', '--store.path', 'nowhere'],
      /no agent listens at .*nowhere\/admin\.sock/,
    ],
    ['too long a path', ['a.b/c:1', '--store.path', 'x'.repeat(120)], /at most 107: choose a shorter store\.path/],
    ['nothing', [], /missing required argument 'digest\|tag'/],
  ])('drop says it when it gets %s', async (_name, args, message) => {
    const { code, stdout, stderr } = await windlass('drop', ...args);
    expect({ failed: code !== 0, stdout }).toEqual({ failed: true, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test.skipIf(process.getuid?.() !== 0)('drop says it when it may not', async () => {
    // The folders on the way are made for nobody but us; the socket itself decides.
    const child = spawn(process.execPath, ['-e', PROBE, `${agent.storePath}/admin.sock`], {
      uid: 65534,
      gid: 65534,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    for await (const chunk of child.stdout) text += chunk;
    expect(text.trim()).toBe('EACCES');
  });
});

describe('status and drop in a cluster', () => {
  const AGENTS = 3;
  let scratch: Scratch;
  let image: DemoImage;
  let registry: DemoRegistry;
  let cluster: AgentCluster;

  beforeAll(async () => {
    scratch = await Scratch.create();
    image = buildImage([1, 16]);
    registry = new DemoRegistry({
      repositories: [{ image, repository: 'a/b', tag: '1' }],
      bytesPerSecond: 64 * MIB,
    });
    const url = await registry.start();
    scratch.defer(() => registry.stop());
    cluster = await AgentCluster.start(scratch, {
      agents: AGENTS,
      registries: { [HOST]: url },
      settings: { tags: { maxAge: '1h' } },
      settingsOf: (index) => ({ node: { name: `node-${index}`, zone: `zone-${index % 2}` } }),
    });
  });
  afterAll(() => scratch?.dispose());

  const windlass = (...args: string[]): Promise<Ended> =>
    run(process.execPath, [WINDLASS, ...args], { cwd: scratch.path });
  const statusOf = async (index: number): Promise<AgentStatus> => {
    const { code, stdout, stderr } = await windlass('status', '--json', '--url', cluster.agent(index).statusUrl);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  };
  const get = async (index: number, path: string): Promise<Buffer> => {
    const response = await fetch(`${cluster.agent(index).mirrorUrl}/v2/a/b/${path}?ns=${HOST}`);
    expect(response.status).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  };
  const head = async (index: number, reference: string): Promise<number> => {
    const url = `${cluster.agent(index).mirrorUrl}/v2/a/b/manifests/${reference}?ns=${HOST}`;
    return (await fetch(url, { method: 'HEAD' })).status;
  };
  const largest = () => image.blobs.reduce((a, b) => (a.bytes.length > b.bytes.length ? a : b));
  const all = <T>(call: (index: number) => Promise<T>) =>
    Promise.all(cluster.agents.map((_agent, index) => call(index)));

  test('each agent shows the others, with zone and address', async () => {
    for (let index = 0; index < AGENTS; index++) {
      const { node, peerId, discovery, peers } = await statusOf(index);
      expect({ node, discovery }).toEqual({ node: `node-${index}`, discovery: 'static' });
      expect(peerId).toMatch(/^12D3KooW/);
      const others = [0, 1, 2].filter((other) => other !== index);
      expect(peers).toEqual(
        others.map((other) => ({
          nodeName: `node-${other}`,
          peerId: expect.stringMatching(/^12D3KooW/),
          zone: `zone-${other % 2}`,
          dataAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
          p2pAddresses: [expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/)],
          state: 'live',
        })),
      );
    }
    const { stdout } = await windlass('status', '--url', cluster.agent(0).statusUrl);
    expect(stdout).toMatch(/Peers: 2\n {2}node-1 {2}zone-1 {2}127\.0\.0\.1:\d+\n {2}node-2 {2}zone-0 {2}127/);
  });

  test('a transfer says which node it is read from, and who reads it', async () => {
    const { digest, bytes } = largest();
    await all((index) => get(index, `manifests/${image.manifest.digest}`));
    registry.hold(digest, bytes.length / 2);
    const bodies = all((index) => get(index, `blobs/${digest}`));
    // A machine that is short of CPU may see two writers for a moment; what is shown is what there is.
    const transfers = await eventually(
      async () => {
        const found = (await all(statusOf)).flatMap(({ node, transfers: [transfer] }) =>
          transfer === undefined || transfer.written < bytes.length / 2 - MIB ? [] : [{ node, ...transfer }],
        );
        const children = found.reduce((sum, transfer) => sum + transfer.children, 0);
        return found.length === AGENTS && children === AGENTS - 1 && found;
      },
      { what: 'three transfers half way, of one tree' },
    ).finally(() => registry.release());
    const writers = transfers.filter(({ source }) => source === 'upstream');
    expect(writers).toMatchObject([{ from: [], sizeBytes: bytes.length }]);
    for (const { source, from, node } of transfers.filter((transfer) => transfer !== writers[0])) {
      expect({ source, from }).toEqual({ source: 'peer', from: [expect.stringMatching(/^node-\d$/)] });
      expect(from).not.toContain(node);
    }
    for (const body of await bodies) expect(body.equals(bytes)).toBe(true);
  });

  test('bytes are told by where they came from and went', async () => {
    const statuses = await eventually(
      async () => {
        const found = await all(statusOf);
        return found.every(({ transfers, store }) => transfers.length === 0 && store.blobs >= 2) && found;
      },
      { what: 'nothing on its way' },
    );
    const sum = (read: (status: AgentStatus) => number) => statuses.reduce((total, status) => total + read(status), 0);
    const blobBytes = largest().bytes.length;
    const upstreamBytes = sum(({ totals }) => totals.upstreamBytes);
    expect(upstreamBytes).toBeGreaterThanOrEqual(blobBytes + image.manifest.bytes.length);
    expect(upstreamBytes).toBeLessThanOrEqual(registry.counts().sentBytes);
    expect(sum(({ totals }) => totals.peerReceivedBytes)).toBeGreaterThan(blobBytes);
    expect(sum(({ totals }) => totals.peerSentBytes)).toBeGreaterThanOrEqual(
      sum(({ totals }) => totals.peerReceivedBytes),
    );
    const served = (status: AgentStatus) => Object.values(status.totals.bytes).reduce((a, b) => a + b, 0);
    for (const status of statuses) {
      const { savedBytes, byteHitRate } = status.totals;
      expect(savedBytes).toBe(Math.max(0, served(status) - status.totals.upstreamBytes));
      expect(byteHitRate).toBeCloseTo(savedBytes / served(status), 6);
    }
    // One at least had nothing to ask of upstream.
    expect(Math.max(...statuses.map(({ totals }) => totals.hitRate ?? 0))).toBe(1);
  });

  test('a blob is dropped on all nodes, and told of each; with --local on one', async () => {
    const { digest, bytes } = largest();
    const drop = (...flags: string[]) => windlass('drop', digest, ...flags, '--store.path', cluster.agent(1).storePath);
    const local = await drop('--local');
    expect(local).toMatchObject({ code: 0, stderr: '' });
    expect(local.stdout).toMatch(/^.*\n {2}node-1 \(this node\) {2}removed: blob, \d+\.\d MiB\n$/);
    expect(await get(1, `blobs/${digest}`)).toHaveLength(bytes.length);
    const asked = registry.gets(digest);

    await eventually(async () => (await statusOf(1)).transfers.length === 0);
    const everywhere = await drop();
    expect(everywhere).toMatchObject({ code: 0, stderr: '' });
    expect(everywhere.stdout.match(/ removed: blob, /g)).toHaveLength(AGENTS);
    for (const name of ['node-0', 'node-1 (this node)', 'node-2']) expect(everywhere.stdout).toContain(`  ${name} `);
    expect(await get(1, `blobs/${digest}`)).toHaveLength(bytes.length);
    expect(registry.gets(digest), 'nobody had it any more').toBeGreaterThan(asked);
  });

  test('a tag is dropped on all nodes, and checked once more for all', async () => {
    const checks = () => registry.counts().requests['HEAD tag'] ?? 0;
    expect(await all((index) => head(index, '1'))).toEqual([200, 200, 200]);
    expect(checks()).toBe(1);
    const { code, stdout } = await windlass('drop', `${HOST}/a/b:1`, '--store.path', cluster.agent(2).storePath);
    expect({ code, removed: stdout.match(/ removed: tag/g)?.length }).toEqual({ code: 0, removed: AGENTS });
    expect(await all((index) => head(index, '1'))).toEqual([200, 200, 200]);
    expect(checks()).toBe(2);
  });

  test('a node that is gone is named, once nobody takes it for alive it is not asked', async () => {
    await cluster.agent(0).kill();
    const drop = () => windlass('drop', largest().digest, '--store.path', cluster.agent(1).storePath);
    const { code, stdout } = await drop();
    if (code !== 0) {
      expect(code).toBe(1);
      expect(stdout).toMatch(/node-0 +not removed: \S/);
    }
    await eventually(async () => (await drop()).code === 0, { what: 'the dead to be forgotten', timeoutMs: 60_000 });
    expect((await statusOf(1)).peers.map(({ nodeName }) => nodeName)).toEqual(['node-2']);
  });
});

const PROBE = `require('node:net').connect(process.argv[1])
  .on('connect', () => { console.log('connected'); process.exit(); })
  .on('error', ({ code }) => console.log(code))`;
