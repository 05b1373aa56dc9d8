import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ProxyChoice } from '../../../src/upstream/proxy-choice.ts';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, openClient, patient, readAll } from '../../support/fake-registry/open-client.ts';
import { selfSigned } from '../../support/fake-registry/self-signed.ts';
import { commandsMissing, describeWith } from '../../support/requires.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

/** A proxy that knows every name as this machine: CONNECT for https, absolute addresses for http. */
async function startProxy(refuse?: number) {
  const seen: { method: string; target: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  const note = (request: IncomingMessage): void => {
    const { method = '', url: target = '', headers } = request;
    seen.push({ method, target, authorization: headers['proxy-authorization'] });
  };
  const server = createServer((request, response) => {
    note(request);
    const url = new URL(request.url ?? '');
    const onward = httpRequest({
      port: url.port,
      host: '127.0.0.1',
      path: url.pathname + url.search,
      headers: request.headers,
    });
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.end();
  });
  server.on('connect', (request, socket: Socket) => {
    note(request);
    if (refuse !== undefined) return void socket.end(`HTTP/1.1 ${refuse} No\r\ncontent-length: 0\r\n\r\n`);
    const onward = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    for (const side of [socket, onward]) {
      side.on('error', () => onward.destroy());
      sockets.add(side);
    }
  });
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scratch.defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

describe('through a proxy', () => {
  test('http: the whole address is asked of it, with its own credentials', async () => {
    const proxy = await startProxy();
    const registry = await FakeRegistry.start();
    scratch.defer(() => registry.close());
    const endpoint = registry.server.urlOf('registry.internal'); // only the proxy can resolve it
    const { client, registries, log } = openClient(
      { host: 'registry.test', endpoint },
      { proxy: proxy.url.replace('//', '//user:proxy-password@') },
    );
    scratch.defer(() => registries.close());
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, { ...patient, offset: 9 });
    expect((await readAll(body)).equals(BLOB.bytes.subarray(9))).toBe(true);
    expect(proxy.seen).toMatchObject([
      {
        method: 'GET',
        target: `${endpoint}/v2/team/app/blobs/${BLOB.digest}`,
        authorization: expect.stringMatching(/^Basic /),
      },
    ]);
    expect(JSON.stringify(log)).not.toContain('proxy-password');
  });

  describeWith('to a registry by TLS', [commandsMissing('openssl')], () => {
    test('https: a tunnel, and the registry’s own CA inside it', async () => {
      const proxy = await startProxy();
      const tls = await selfSigned(scratch, 'registry.internal');
      const registry = await FakeRegistry.start({ tls });
      scratch.defer(() => registry.close());
      const { client, registries } = openClient(
        { host: 'registry.test', endpoint: registry.server.urlOf('registry.internal'), ca: tls.certPath },
        { env: { https_proxy: proxy.url } },
      );
      scratch.defer(() => registries.close());
      expect(await client.getManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
      expect(proxy.seen).toMatchObject([{ method: 'CONNECT', target: `registry.internal:${registry.server.port}` }]);
    });
  });

  test('one that refuses, and one that is not there', async () => {
    const proxy = await startProxy(403);
    const refused = openClient({ host: 'registry.test' }, { proxy: proxy.url });
    scratch.defer(() => refused.registries.close());
    expect(await failure(refused.client.headManifest(REPOSITORY, TAG, patient))).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: expect.stringContaining('the proxy refused with 403'),
    });
    const gone = openClient({ host: 'registry.test' }, { proxy: 'http://127.0.0.1:1' });
    scratch.defer(() => gone.registries.close());
    expect((await failure(gone.client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
  });

  test('an address that is special is refused before the proxy hears of it', async () => {
    const proxy = await startProxy();
    const registry = await FakeRegistry.start({
      habits: [habits.redirects('manifest', () => 'http://169.254.169.254/latest/')],
    });
    scratch.defer(() => registry.close());
    const { client, registries } = openClient(
      { host: 'registry.test', endpoint: registry.server.urlOf('registry.internal') },
      { proxy: proxy.url },
    );
    scratch.defer(() => registries.close());
    expect((await failure(client.getManifest(REPOSITORY, TAG, patient))).code).toBe('REGISTRY_DENIED');
    expect(proxy.seen).toHaveLength(1);
  });
});

describe('which proxy', () => {
  const choose = (url: string, env: NodeJS.ProcessEnv, proxy = '') =>
    new ProxyChoice({ proxy, env }).proxyFor(new URL(url));
  const env = { HTTPS_PROXY: 'http://secure:1', HTTP_PROXY: 'plain:2' };

  test.each([
    ['https://quay.io/', env, 'http://secure:1/'],
    ['http://quay.io/', env, 'http://plain:2/'],
    ['https://quay.io/', { https_proxy: 'http://lower:3' }, 'http://lower:3/'],
    ['https://quay.io/', { HTTP_PROXY: 'http://plain:2' }, undefined],
    ['https://127.0.0.1:5000/', env, undefined],
    ['https://localhost/', env, undefined],
    ['https://[::1]/', env, undefined],
    ['https://quay.io/', {}, undefined],
  ])('%s with %j: %s', (url, variables, expected) => {
    expect(choose(url, variables)).toBe(expected);
  });

  test.each([
    ['quay.io', 'https://quay.io/', true],
    ['quay.io', 'https://cdn.quay.io/', true],
    ['quay.io', 'https://notquay.io/', false],
    ['.quay.io', 'https://quay.io/', false],
    ['.quay.io', 'https://cdn.quay.io/', true],
    ['*.quay.io', 'https://cdn.quay.io/', true],
    ['QUAY.io', 'https://quay.io/', true],
    ['quay.io:8443', 'https://quay.io/', false],
    ['quay.io:443', 'https://quay.io/', true],
    ['10.0.0.0/8', 'https://10.1.2.3:5000/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['10.0.0.0/8', 'https://10.evil.test/', false],
    ['fd00::/8', 'https://[fd12::1]/', true],
    ['fd00::1', 'https://[fd00::1]:5000/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]:5000/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]/', false],
    ['10.0.0.2', 'https://10.0.0.2/', true],
    ['10.0.0.0/99', 'https://10.0.0.1/', false],
    ['other, quay.io  x.test', 'https://quay.io/', true],
    ['*', 'https://quay.io/', true],
    ['', 'https://quay.io/', false],
  ])('NO_PROXY=%j excepts %s: %s', (noProxy, url, excepted) => {
    expect(choose(url, { NO_PROXY: noProxy }, 'http://set:9')).toBe(excepted ? undefined : 'http://set:9/');
  });

  test.each(['http://', 'ftp://x:1', 'http://u:secret-word@:::'])('%s is refused at start, unquoted', (proxy) => {
    expect(() => new ProxyChoice({ proxy, env: {} })).toThrow(
      expect.objectContaining({ code: 'INVALID_SETTINGS', message: expect.not.stringContaining('secret-word') }),
    );
  });
});
