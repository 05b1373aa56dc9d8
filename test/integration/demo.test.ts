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

type Process = ChildProcessByStdio<null, Readable, Readable>;

describe('windlass demo', () => {
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
    vi.waitFor(() => expect(output()).toMatch(pattern), { timeout: 60_000, interval: 10 });

  it('hauls the image once, for everybody, and leaves nothing', async () => {
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
  });

  it('tells it in lines without control codes where there is no terminal', async () => {
    const { process: child, output } = demo([]);
    expect(await ended(child), output()).toBe(0);
    const text = output();
    expect(text).toBe(stripVTControlCharacters(text));
    expect(text).toMatch(/together +10 +72\.0 MiB +1\.00× the image/);
    expect(text.match(/^ {2}✔ /gm)?.length).toBeGreaterThanOrEqual(5);
    expect(text).toContain('npm start');
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('removes everything when %s comes half way', async (signal) => {
    const { process: child, output } = demo([]);
    const exit = ended(child);
    await until(output, /upstream (1[89]|[2-5]\d)\.\d MiB of/);
    expect(await readdir(folder)).not.toEqual([]);
    child.kill(signal);
    expect(await exit, output()).toBe(130);
    expect(output()).toContain('interrupted');
    expect(await readdir(folder)).toEqual([]);
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
    expect(await readdir(folder)).toEqual(['agent.log']);
  });
});
