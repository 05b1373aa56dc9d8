import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DemoResult } from '../../src/demo/result.ts';

const WINDLASS = fileURLToPath(new URL('../../src/windlass.js', import.meta.url));

/** Processes whose command line names something in that folder: agents, by their stores. */
async function agentsIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes('\0agent\0') && line.includes(`${folder}/`)) found.push(pid);
  }
  return found;
}

type Process = ChildProcessByStdio<null, Readable, Readable>;

describe('windlass demo', { timeout: 300_000 }, () => {
  let folder: string;
  let running: Process | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'wdt-'));
  });

  afterEach(async () => {
    if (running?.exitCode === null && running.signalCode === null) {
      const gone = once(running, 'exit');
      running.kill('SIGKILL');
      await gone;
    }
    await rm(folder, { recursive: true, force: true });
  });

  /** Everything that it leaves would be in `folder`. */
  function demo(args: readonly string[], env: NodeJS.ProcessEnv = {}): { process: Process; output: () => string } {
    const { FORCE_COLOR: _, NO_COLOR: __, ...inherited } = process.env;
    const child = spawn(process.execPath, [WINDLASS, 'demo', ...args], {
      env: { ...inherited, LANG: 'C.UTF-8', TMPDIR: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running = child;
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
    }
    return { process: child, output: () => text };
  }

  const ended = async (child: Process): Promise<number | null> => (await once(child, 'close'))[0];

  const until = (output: () => string, pattern: RegExp): Promise<void> =>
    vi.waitFor(() => expect(output()).toMatch(pattern), { timeout: 150_000, interval: 10 });

  it('hauls the image once, for everybody; an agent is killed, another goes on; nothing is left', async () => {
    // Settings, proxies and what else the machine has are not to reach it.
    const { process: child, output } = demo(['--json'], {
      WINDLASS_STORE_PATH: '/nowhere',
      HTTP_PROXY: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
    });
    expect(await ended(child), output()).toBe(0);
    const result: DemoResult = JSON.parse(output());

    expect(result.ok).toBe(true);
    expect(result.ratio).toBe(1);
    expect(result.upstream).toEqual({
      requests: { 'HEAD tag': 1, 'GET manifest': 2, 'GET blob': 7 },
      total: 10,
      sentBytes: result.image.sizeBytes,
      mostGetsOfOne: 1,
      resumed: 0,
    });
    expect(result.clients.map(({ manner }) => manner).sort()).toEqual([
      'quits',
      'ranges',
      ...Array.from({ length: 6 }, () => 'whole'),
    ]);
    for (const client of result.clients) {
      if (client.manner === 'quits') {
        expect(client.outcome).toBe('quit');
        expect(client.receivedBytes).toBeLessThan(result.image.sizeBytes);
      } else {
        expect(client).toMatchObject({ outcome: 'complete', verified: 9, receivedBytes: result.image.sizeBytes });
      }
    }
    expect(result.upstreamRequestsOfContainerd).toBe(0);
    expect(await readdir(folder)).toEqual([]);
    const { sizeBytes } = result.image;
    expect(result.nodes.map(({ name, heldBytes, killed }) => ({ name, heldBytes, killed }))).toEqual(
      ['node-1', 'node-2', 'node-3'].map((name) => ({ name, heldBytes: sizeBytes, killed: false })),
    );
    const sum = (read: (node: (typeof result.nodes)[number]) => number) =>
      result.nodes.reduce((total, node) => total + read(node), 0);
    expect(sum(({ upstreamBytes }) => upstreamBytes)).toBe(sizeBytes);
    // All but what was small enough to come with the answer to a claim.
    expect(sum(({ peerBytes }) => peerBytes)).toBeGreaterThan(1.95 * sizeBytes);
    expect(sum(({ sentBytes }) => sentBytes)).toBeGreaterThanOrEqual(sum(({ peerBytes }) => peerBytes));

    // And then one is killed.
    const { kill } = result;
    if (kill?.victim === undefined) throw new Error('nobody was killed');
    const { victim, image } = kill;

    expect(kill.nodes.filter(({ killed }) => killed).map(({ name }) => name)).toEqual([victim.name]);
    expect(victim.written).toBeLessThan(victim.blobBytes);
    expect(kill.getsOfVictimsBlob).toBeGreaterThan(1);
    expect(kill.successor).not.toBe(victim.name);
    const digests = image.blobs + image.manifests;
    for (const client of kill.clients) {
      expect(client).toMatchObject({ outcome: 'complete', verified: digests, receivedBytes: image.sizeBytes });
      if (`node-${client.name}` !== victim.name) expect(client.directBytes).toBe(0);
    }
    for (const node of kill.nodes.filter(({ killed }) => !killed)) expect(node.heldBytes).toBe(image.sizeBytes);
    expect(kill.upstream.sentBytes / image.sizeBytes).toBeLessThanOrEqual(1.1);
    expect(await readdir(folder)).toEqual([]);
  });

  it('is content with one agent, which nobody kills', async () => {
    const { process: child, output } = demo(['--json', '--agents', '1']);
    expect(await ended(child), output()).toBe(0);
    const result: DemoResult = JSON.parse(output());
    expect(result).toMatchObject({ ok: true, ratio: 1, agents: 1 });
    expect(result.kill).toBeUndefined();
  });

  it('starts as many as are asked for: five give it upstream once as well', async () => {
    const { process: child, output } = demo(['--json', '--agents', '5']);
    expect(await ended(child), output()).toBe(0);
    const result: DemoResult = JSON.parse(output());
    expect(result).toMatchObject({ ok: true, ratio: 1, agents: 5 });
    expect(result.nodes.map(({ heldBytes }) => heldBytes)).toEqual(Array(5).fill(result.image.sizeBytes));
  });

  it.each(['0', '17', 'many', '1.5'])('refuses %s agents', async (agents) => {
    const { process: child, output } = demo(['--agents', agents]);
    expect(await ended(child)).toBe(2);
    expect(output()).toContain('write a whole number from 1 to 16');
    expect(await readdir(folder)).toEqual([]);
  });

  it('tells it in lines without control codes where there is no terminal', async () => {
    const { process: child, output } = demo([]);
    expect(await ended(child), output()).toBe(0);
    const text = output();
    expect(text).toBe(stripVTControlCharacters(text));
    expect(text).toMatch(/together +10 +56\.0 MiB +1\.00× the image/);
    expect(text.match(/^ {2}✔ /gm)?.length).toBeGreaterThanOrEqual(9);
    expect(text).toMatch(/^ {2}node-2 +\d.* MiB$/m);
    expect(text).toMatch(/^ {2}kill -9 node-\d +from upstream +from peers +to peers +held$/m);
    expect(text).toContain('npm start');
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('removes everything when %s comes half way', async (signal) => {
    const { process: child, output } = demo([]);
    const exit = ended(child);
    await until(output, /upstream (1[89]|[2-5]\d)\.\d MiB of/);
    expect(await readdir(folder)).not.toEqual([]);
    const agents = await agentsIn(folder);
    expect(agents).toHaveLength(3);
    child.kill(signal);
    expect(await exit, output()).toBe(130);
    expect(output()).toContain('interrupted');
    expect(await readdir(folder)).toEqual([]);
    expect(await agentsIn(folder)).toEqual([]);
  });

  it('takes its agents with it when it is killed itself', async () => {
    const { process: child, output } = demo([]);
    const exit = ended(child);
    await until(output, /upstream (1[89]|[2-5]\d)\.\d MiB of/);
    expect(await agentsIn(folder)).toHaveLength(3);
    child.kill('SIGKILL');
    await exit;
    await vi.waitFor(async () => expect(await agentsIn(folder)).toEqual([]), { timeout: 30_000, interval: 50 });
  });

  it('with --keep goes on serving until Ctrl-C', async () => {
    const { process: child, output } = demo(['--keep']);
    const exit = ended(child);
    await until(output, /dir:\/tmp/);
    const [, mirror] = /mirror +(http:\S+)/.exec(output()) ?? [];
    const tag = await fetch(`${mirror}/v2/registry.example/windlass/demo/manifests/1`, { method: 'HEAD' });
    expect(tag.status).toBe(200);
    expect(tag.headers.get('docker-content-digest')).toMatch(/^sha256:/);
    const [, metrics] = /metrics +(http:\S+)/.exec(output()) ?? [];
    expect(await (await fetch(`${metrics}`)).text()).toContain('windlass_ingests_total{result="committed"}');
    child.kill('SIGINT');
    expect(await exit, output()).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });

  it("writes the agent's log where it is told to", async () => {
    const log = path.join(folder, 'agent.log');
    const { process: child, output } = demo(['--json', '--log', log]);
    expect(await ended(child), output()).toBe(0);
    const lines = String(await readFile(log))
      .trim()
      .split('\n');
    const digests = new Set(lines.map((line): unknown => JSON.parse(line).digest));
    const { image }: DemoResult = JSON.parse(output());
    expect(digests.size).toBeGreaterThanOrEqual(image.blobs + image.manifests);
    expect(new Set(lines.map((line): unknown => JSON.parse(line).node))).toEqual(
      new Set(['node-1', 'node-2', 'node-3']),
    );
    expect(await readdir(folder)).toEqual(['agent.log']);
  });
});
