import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf } from '../support/image.ts';
import { Scratch } from '../support/scratch.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';

const MIB = 1024 * 1024;
const IDLE = 10_000;

describe('hostile input', () => {
  let scratch: Scratch;
  let upstream: ScriptedUpstream;
  /** What nobody may be made to connect to. */
  let internal: ScriptedUpstream;
  let agent: AgentProcess;
  const good = Buffer.from('a blob that is there');
  const goodPath = `/v2/library/x/blobs/${digestOf(good)}`;

  beforeAll(async () => {
    scratch = await Scratch.create();
    upstream = await ScriptedUpstream.start();
    internal = await ScriptedUpstream.start();
    scratch.defer(() => upstream.stop());
    scratch.defer(() => internal.stop());
    upstream.serve(`library/x/blobs/${digestOf(good)}`, good);
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': `http://${upstream.address}` },
      settings: {
        registries: [{ host: 'docker.io', endpoint: `http://${upstream.address}` }, { host: '*' }],
        mirror: { maxConnections: 2000 },
        log: { level: 'warn' },
      },
    });
  });
  afterAll(() => scratch?.dispose());

  /** Sends exactly these bytes, as no HTTP client would, and gives all that comes back. */
  function raw(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: agent.mirrorPort });
      let answer = '';
      socket.on('data', (data) => {
        answer += data.toString('latin1');
      });
      socket.on('close', () => resolve(answer));
      // A server that has said what it thinks of an endless header may close without reading on.
      socket.on('error', (error: NodeJS.ErrnoException) =>
        error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(answer) : reject(error),
      );
      socket.end(text);
    });
  }

  const request = (path: string) => raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

  async function stillServes(): Promise<void> {
    const answer = await httpGet(agent.mirrorUrl + goodPath);
    expect(answer.bytes.equals(good)).toBe(true);
  }

  it('path tricks: 4xx with the spec’s JSON, and upstream never hears of them', async () => {
    const before = upstream.requests.length;
    const digest = digestOf(good);
    const tricks = [
      '/v2/../../etc/passwd',
      '/v2/library/../x/manifests/latest',
      '/v2/library/%2e%2e/x/manifests/latest',
      `/v2/library%2Fx/blobs/${digest}`,
      `/v2/library/x/blobs/${digest}%00`,
      '/v2/library/x/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd',
      '/v2/library/x/blobs/sha256:abc',
      `/v2/library/x/blobs/${digest.toUpperCase()}`,
      '/v2/library/x/blobs/md5:d41d8cd98f00b204e9800998ecf8427e',
      '/v2/library/x/manifests/%',
      '/v2/library/x/manifests/a%0d%0ab',
      '/v2//x/manifests/latest',
      '/v2/library/x//manifests/latest',
      '/v2/Library/X/manifests/latest',
      '/v2/library/x/manifests/.hidden',
      `/v2/library/x/manifests/${'t'.repeat(129)}`,
      `/v2/${'a/'.repeat(200)}x/manifests/latest`,
      '//v2/library/x/manifests/latest',
      'http://127.0.0.1/v2/library/x/manifests/%2f',
      '/v2/library/x/manifests/latest?ns=docker.io&ns=evil.test',
      '/v2/library/x/manifests/latest?ns=user:password@evil.test',
      '/v2/library/x/manifests/latest?ns=evil.test/path',
      '/v2/library/x/manifests/latest?ns=',
      '/v2/library/x/uploads/1',
      '/',
    ];
    for (const path of tricks) {
      const answer = await request(path);
      expect([path, statusOf(answer)]).toEqual([path, expect.toSatisfy((s: number) => s === 400 || s === 404)]);
      expect(answer).toContain('"errors"');
    }
    expect(upstream.requests.length).toBe(before);
    await stillServes();
  });

  it('64 KiB names and floods of headers: refused, nothing kept of them', async () => {
    expect(statusOf(await request(`/v2/${'x'.repeat(65_536)}/manifests/latest`))).toBeGreaterThanOrEqual(400);
    expect(statusOf(await request(`/v2/${'x'.repeat(8_000)}/manifests/latest`))).toBe(400);
    const flood = (headers: number) => {
      const lines = Array.from({ length: headers }, (_, i) => `X-Header-${i}: ${'y'.repeat(100)}\r\n`);
      return raw(`GET ${goodPath} HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`);
    };
    expect(statusOf(await flood(200))).toBe(431);
    // Of so many it reads only the first: the reset that follows may overtake what it said.
    expect(await flood(5000)).toMatch(/^(HTTP\/1\.1 431 |$)/);
    expect(statusOf(await raw('\x16\x03\x01 this is TLS'))).toBe(400);
    await stillServes();
  });

  it('other methods: 405, the body not read', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await raw(
        `${method} /v2/library/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc`,
      );
      expect([method, statusOf(answer)]).toEqual([method, 405]);
    }
    await stillServes();
  });

  it('an ns that is not on the list: 403; one on it only by * may not lead to loopback or link-local: no connection', async () => {
    const port = internal.address.split(':')[1];
    for (const ns of [
      internal.address,
      `localhost:${port}`,
      `127.1:${port}`,
      `[::1]:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      `0.0.0.0:${port}`,
      `2130706433:${port}`,
      '169.254.169.254',
      'metadata.localhost',
    ]) {
      const answer = await httpGet(`${agent.mirrorUrl}/v2/library/x/manifests/latest?ns=${encodeURIComponent(ns)}`);
      // A name that does not resolve at all is "unavailable".
      expect([ns, answer.status]).toEqual([ns, expect.toSatisfy((s: number) => s === 403 || s === 400 || s === 503)]);
    }
    expect(internal.requests).toEqual([]);

    const strict = await AgentProcess.start(scratch, { registries: { 'docker.io': `http://${upstream.address}` } });
    const answer = await httpGet(`${strict.mirrorUrl}/v2/library/x/manifests/latest?ns=evil.test`);
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.bytes.toString())).toMatchObject({ errors: [{ code: 'DENIED' }] });
    await strict.stop();
  });

  it('10,000 idle connections from another process: bounded in number and memory, still serving', async () => {
    await stillServes();
    const program = fileURLToPath(new URL('../support/idle-connections.ts', import.meta.url));
    const idle = new Daemon(scratch, 'idle', process.execPath, [program, String(agent.mirrorPort), String(IDLE)], {});
    await idle.ready(() => idle.lines.includes('open') || undefined);

    for (let i = 0; i < 20; i += 1) await stillServes();
    // The last ones may still stand in the kernel's accept queue.
    await eventually(async () => (await agent.metric('windlass_mirror_connections_dropped_total')) >= IDLE - 2000);
    expect(await agent.metric('windlass_mirror_connections')).toBeLessThanOrEqual(2000);
    const { rssBytes } = await agent.memory();
    expect(rssBytes).toBeLessThan(256 * MIB);
    await idle.stop();
    await eventually(async () => (await agent.metric('windlass_mirror_connections')) < 10);
    await stillServes();
  });
});
