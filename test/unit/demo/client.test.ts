import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client, type ClientManner } from '../../../src/demo/client.ts';
import { buildImage } from '../../../src/demo/image.ts';
import { DemoRegistry } from '../../../src/demo/registry.ts';

const image = buildImage([1, 2]);
const DIGESTS = 2 + image.blobs.length;
const NEVER = new AbortController().signal;

describe('a demo client', () => {
  let registry: DemoRegistry;
  let url: string;

  beforeEach(async () => {
    registry = new DemoRegistry({ repositories: [{ image, repository: 'windlass/demo', tag: '1' }] });
    url = await registry.start();
  });

  afterEach(() => registry.stop());

  const client = (
    manner: ClientManner,
    options: { url?: string; tag?: string; ns?: string; fallbackUrl?: string } = {},
  ) => new Client({ name: '1', manner, url, ns: undefined, repository: 'windlass/demo', tag: '1', ...options });

  it('asks as containerd does, and verifies every digest', async () => {
    const report = await client('whole').pull(NEVER);
    expect(report).toMatchObject({
      outcome: 'complete',
      receivedBytes: image.sizeBytes,
      verified: DIGESTS,
      rangeRequests: 0,
      error: undefined,
    });
    expect(registry.counts()).toMatchObject({
      requests: { 'HEAD tag': 1, 'GET manifest': 2, 'GET blob': image.blobs.length },
      mostGetsOfOne: 1,
    });
  });

  it('gets the same by ranges', async () => {
    const report = await client('ranges').pull(NEVER);
    expect(report).toMatchObject({
      outcome: 'complete',
      receivedBytes: image.sizeBytes,
      verified: DIGESTS,
      rangeRequests: 2 * image.blobs.length,
    });
  });

  it('quits half way', async () => {
    const report = await client('quits').pull(NEVER);
    expect(report.outcome).toBe('quit');
    expect(report.receivedBytes).toBeGreaterThanOrEqual(image.sizeBytes / 2 - 10_000);
    expect(report.receivedBytes).toBeLessThan(image.sizeBytes);
    expect(report.verified).toBeLessThan(DIGESTS);
  });

  it('reports what the registry answers', async () => {
    const report = await client('whole', { tag: 'none' }).pull(NEVER);
    expect(report).toMatchObject({ outcome: 'failed', verified: 0 });
    expect(report.error).toContain('HEAD manifests/none: 404');
  });

  it('leaves when it is told to', async () => {
    const leave = new AbortController();
    const pull = client('whole').pull(leave.signal);
    leave.abort(new Error('enough'));
    await expect(pull).rejects.toThrow('enough');
  });

  it('goes on at the registry, where it was, when its mirror breaks off', async () => {
    let budget = Math.floor(image.sizeBytes / 2);
    const dying = createServer((request, response) => {
      const answer = async (): Promise<void> => {
        if (budget <= 0) return void request.socket.destroy();
        const upstream = await fetch(url + (request.url ?? '').replace(/\?.*/, ''), {
          method: request.method ?? 'GET',
        });
        response.writeHead(upstream.status, Object.fromEntries(upstream.headers));
        const body = Buffer.from(await upstream.arrayBuffer());
        const part = body.subarray(0, Math.max(0, budget));
        budget -= body.length;
        if (part.length === body.length) response.end(part);
        else response.write(part, () => request.socket.destroy());
      };
      answer().catch(() => request.socket.destroy());
    }).listen(0, '127.0.0.1');
    await once(dying, 'listening');
    const mirrorUrl = `http://127.0.0.1:${(dying.address() as AddressInfo).port}`;

    const report = await client('whole', { url: mirrorUrl, ns: 'registry.example', fallbackUrl: url }).pull(NEVER);
    expect(report).toMatchObject({ outcome: 'complete', verified: DIGESTS, receivedBytes: image.sizeBytes });
    expect(report.directBytes).toBeGreaterThan(0);
    expect(report.directBytes).toBeLessThan(image.sizeBytes);

    const without = await client('whole', { url: mirrorUrl }).pull(NEVER);
    expect(without).toMatchObject({ outcome: 'failed', directBytes: 0 });
    dying.close();
    dying.closeAllConnections();
  });

  describe('behind something that changes answers', () => {
    let proxy: Server;
    let proxyUrl: string;
    const seen: string[] = [];
    let change: (path: string, body: Buffer) => Buffer;

    beforeEach(async () => {
      seen.length = 0;
      const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
        const path = request.url ?? '';
        seen.push(path);
        const answer = await fetch(url + path, { method: request.method ?? 'GET' });
        const digest = answer.headers.get('docker-content-digest') ?? '';
        const body = change(path, Buffer.from(await answer.arrayBuffer()));
        response.writeHead(answer.status, { 'docker-content-digest': digest }).end(body);
      };
      proxy = createServer((request, response) => {
        pass(request, response).catch(() => response.destroy());
      });
      proxy.listen(0, '127.0.0.1');
      await once(proxy, 'listening');
      proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    });

    afterEach(() => {
      proxy.close();
      proxy.closeAllConnections();
    });

    it('names the registry to a mirror, in each request', async () => {
      change = (_, body) => body;
      await client('whole', { url: proxyUrl, ns: 'registry.example' }).pull(NEVER);
      expect(seen.length).toBe(1 + DIGESTS);
      expect(seen.every((path) => path.endsWith('?ns=registry.example'))).toBe(true);
    });

    it.each([
      [
        'a flipped bit in a blob',
        'blobs',
        (body: Buffer) => Buffer.concat([Buffer.of(~(body[0] ?? 0)), body.subarray(1)]),
      ],
      ['a blob cut short', 'blobs', (body: Buffer) => body.subarray(0, -1)],
      ['a manifest with a space more', 'manifests/sha256', (body: Buffer) => Buffer.concat([body, Buffer.from(' ')])],
    ])('notices %s', async (_, part, spoil) => {
      change = (path, body) => (path.includes(part) ? spoil(body) : body);
      const report = await client('whole', { url: proxyUrl }).pull(NEVER);
      expect(report.outcome).toBe('failed');
      expect(report.error).toContain('sha256:');
    });

    it('does not take a whole for a range', async () => {
      change = (_, body) => body;
      const report = await client('ranges', { url: proxyUrl }).pull(NEVER);
      expect(report.error).toMatch(/asked for bytes=\d+-\d+, got 200/);
    });
  });
});
