import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BLOB, MANIFEST, patternBytes, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import type { Habit } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import {
  failure,
  fakeLookup,
  openClient,
  patient,
  readAll,
  registryWith,
} from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

/** Sends the blob's size and then bytes without end, as fast as they are taken. */
const endless =
  (state: { sentBytes: number }): Habit =>
  ({ response }) => {
    const chunk = Buffer.alloc(64 * 1024, 1);
    response.writeHead(200, { 'content-length': 1e12 });
    const write = (): void => {
      while (response.writable) {
        state.sentBytes += chunk.byteLength;
        if (!response.write(chunk)) break;
      }
      if (response.writable) response.once('drain', write);
    };
    write();
  };

describe('upstream that is not there', () => {
  const get = (client: ReturnType<typeof openClient>['client']) =>
    failure(client.headManifest(REPOSITORY, TAG, patient));

  test('refused', async () => {
    const host = '127.0.0.1:1'; // nobody listens there
    const { client, metrics, registries } = openClient({ host: 'registry.test', endpoint: `http://${host}` });
    scratch.defer(() => registries.close());
    const error = await get(client);
    expect(error).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE', cause: { code: 'ECONNREFUSED' } });
    expect(error.message).toBe(`HEAD registry.test /v2/team/app/manifests/v1: connection refused (${host})`);
    expect((await metrics.upstreamRequests.get()).values).toMatchObject([{ labels: { status: 'error' }, value: 1 }]);
  });

  test('DNS gone', async () => {
    const { client, registries } = openClient({ host: 'gone.test' }, { lookup: fakeLookup({}) });
    scratch.defer(() => registries.close());
    expect(await get(client)).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: 'HEAD gone.test /v2/team/app/manifests/v1: name not resolved (ENOTFOUND)',
    });
  });

  test('packets swallowed: given up after the connect timeout', async () => {
    const { client, registries } = openClient(
      { host: 'swallows.test' },
      { lookup: fakeLookup({ 'swallows.test': ['192.0.2.1'] }), connectTimeoutMs: 50 },
    );
    scratch.defer(() => registries.close());
    expect((await get(client)).code).toBe('UPSTREAM_UNAVAILABLE');
  });

  test('accepts and says nothing: given up after the headers timeout', async () => {
    const { client } = await registryWith(scratch, [() => {}], { headersTimeoutMs: 50 });
    expect(await get(client)).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: expect.stringContaining('no answer in time'),
    });
  });

  test('sends 103 again and again, and no answer: given up after the same time', async () => {
    const hints: Habit = ({ response }) => {
      const timer = setInterval(() => response.writeEarlyHints({ link: '</a>; rel=preload' }), 10);
      response.once('close', () => clearInterval(timer));
    };
    const { client, server } = await registryWith(scratch, [hints], { headersTimeoutMs: 1_000 });
    expect(await get(client)).toMatchObject({ message: expect.stringContaining('no answer in time') });
    expect(server.requests).toHaveLength(1);
  });

  test('speaks no HTTP', async () => {
    const { client } = await registryWith(scratch, [
      ({ response }) => void response.socket?.end('SSH-2.0-OpenSSH_9.9\r\n'),
    ]);
    expect((await get(client)).code).toBe('UPSTREAM_UNAVAILABLE');
  });
});

describe('kept-alive connections', () => {
  test('are used again', async () => {
    const { client, server } = await registryWith(scratch, [], { maxRequests: 1 });
    for (let index = 0; index < 5; index += 1) {
      await client.headManifest(REPOSITORY, TAG, patient);
      await client.getManifest(REPOSITORY, TAG, patient);
    }
    expect(server.connections).toBe(1);
  });

  test('one that upstream closes under a request is replaced, and the request sent once more', async () => {
    const { client, registry, server } = await registryWith(scratch, [], { maxRequests: 1 });
    await client.getManifest(REPOSITORY, TAG, patient);
    registry.habits = [habits.times(1, ({ response }) => void response.socket?.end())];
    expect(await client.getManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    expect(server.requests).toHaveLength(3);
    registry.habits = [habits.times(1, ({ response }) => void response.socket?.resetAndDestroy())];
    expect(await client.getManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    expect(server.requests).toHaveLength(5);
  });

  test('one that breaks off after the first byte of an answer is not asked again', async () => {
    const { client, registry, server } = await registryWith(scratch, [], { maxRequests: 1 });
    await client.getManifest(REPOSITORY, TAG, patient);
    registry.habits = [
      ({ response }) => void response.socket?.write('HTTP/1.1 200 OK\r\ncontent-', () => response.socket?.end()),
    ];
    expect((await failure(client.getManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
    expect(server.requests).toHaveLength(2);
  });

  test('a new connection that is closed is no such case', async () => {
    const { client, server } = await registryWith(scratch, [({ response }) => void response.socket?.end()]);
    expect((await failure(client.getManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
    expect(server.requests).toHaveLength(1);
  });
});

describe('a body', () => {
  test('that stalls while the reader waits: UPSTREAM_STALLED, and the connection is closed', async () => {
    const { client, server } = await registryWith(scratch, [habits.sendsPart(1_000, 'stall')], { stallTimeoutMs: 60 });
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    const error = await failure(readAll(body));
    expect(error.code).toBe('UPSTREAM_STALLED');
    expect(error.message).toContain('no byte for 60 ms after 1000 bytes');
    await expect.poll(() => server.openConnections).toBe(0);
  });

  test('that upstream is slow with while the reader is busy does not stall', async () => {
    const held: (() => void)[] = [];
    const { client } = await registryWith(
      scratch,
      [
        ({ response }) => {
          response.writeHead(200, { 'content-length': 2 });
          response.flushHeaders();
          setTimeout(() => response.write('a'), 10); // so that the reader waits for it
          held.push(() => response.end('b'));
        },
      ],
      { stallTimeoutMs: 100 },
    );
    const reader = (await client.getBlob(REPOSITORY, BLOB.digest, patient)).body[Symbol.asyncIterator]();
    expect(Buffer.from((await reader.next()).value ?? []).toString()).toBe('a');
    await new Promise((resolve) => setTimeout(resolve, 250)); // longer than the bound, and nobody waits
    const rest = reader.next();
    held[0]?.();
    expect(Buffer.from((await rest).value ?? []).toString()).toBe('b');
    expect((await reader.next()).done).toBe(true);
  });

  test('that the reader let wait is whole in the end', async () => {
    const bytes = patternBytes(6 * 1024 * 1024);
    const { client } = await registryWith(scratch, [({ response }) => void response.end(bytes)]);
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    await new Promise((resolve) => setTimeout(resolve, 50)); // buffers fill up
    expect((await readAll(body)).equals(bytes)).toBe(true);
  });

  test('that trickles within the bound is no stall', async () => {
    const { client } = await registryWith(
      scratch,
      [
        ({ response }) => {
          response.writeHead(200, { 'content-length': 10 });
          let left = 10;
          const timer = setInterval(() => {
            left -= 1;
            response.write('x');
            if (left === 0) {
              clearInterval(timer);
              response.end();
            }
          }, 150);
        },
      ],
      { stallTimeoutMs: 1_000 },
    );
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    expect((await readAll(body)).toString()).toBe('xxxxxxxxxx');
  });

  test('is read no faster than its reader', async () => {
    const state = { sentBytes: 0 };
    const { client } = await registryWith(scratch, [endless(state)]);
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    const reader = body[Symbol.asyncIterator]();
    await reader.next();
    let before = -1;
    await expect
      .poll(
        () => {
          const settled = before === state.sentBytes;
          before = state.sentBytes;
          return settled;
        },
        { interval: 100 },
      )
      .toBe(true);
    expect(state.sentBytes).toBeLessThan(32 * 1024 * 1024); // sockets' buffers and ours, not a terabyte
    await reader.return?.();
  });
});

describe('slots', () => {
  const limited = { maxRequests: 1 };
  /** The one slot is free: another call gets an answer. */
  const expectFree = async (
    client: ReturnType<typeof openClient>['client'],
    metrics: ReturnType<typeof openClient>['metrics'],
  ) => {
    expect(await client.getManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    expect((await metrics.upstreamQueued.get()).values.map(({ value }) => value)).not.toContain(1);
  };

  test('are held until the body is over', async () => {
    const { client, metrics, server } = await registryWith(
      scratch,
      [habits.onKind('blob', endless({ sentBytes: 0 }))],
      limited,
    );
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    const next = client.getManifest(REPOSITORY, TAG, patient);
    await expect.poll(async () => (await metrics.upstreamQueued.get()).values).toMatchObject([{ value: 1 }]);
    expect(server.requests).toHaveLength(1);
    await body[Symbol.asyncIterator]().return?.();
    await next;
    await expectFree(client, metrics);
  });

  test('come back when a start fails half way', async () => {
    const { client, metrics, registry } = await registryWith(scratch, [], limited);
    const halves: Habit[] = [
      habits.answer(500),
      habits.answer(404),
      habits.answer(401),
      habits.webPage,
      habits.answer(307, {}),
      habits.answer(307, { location: 'http://169.254.169.254/' }),
      habits.answer(200, { 'content-encoding': 'unheard-of' }, 'x'),
      habits.answer(206, { 'content-range': 'bytes 5-9/10' }, 'xxxxx'),
      ({ response }) => void response.socket?.destroy(),
    ];
    for (const habit of halves) {
      registry.habits = [habits.onKind('blob', habit)];
      await failure(client.getBlob(REPOSITORY, BLOB.digest, { ...patient, offset: 1 }));
    }
    await expectFree(client, metrics);
  });

  test('come back when a reader breaks off, reads to the end, or meets a cut', async () => {
    const { client, metrics, registry } = await registryWith(scratch, [], limited);
    for await (const _chunk of (await client.getBlob(REPOSITORY, BLOB.digest, patient)).body) break;
    await readAll((await client.getBlob(REPOSITORY, BLOB.digest, patient)).body);
    registry.habits = [habits.onKind('blob', habits.sendsPart(5, 'reset'))];
    await failure(readAll((await client.getBlob(REPOSITORY, BLOB.digest, patient)).body));
    await expectFree(client, metrics);
  });

  test('come back on an abort: in the queue, before the headers, in the body', async () => {
    const { client, metrics, registry, server } = await registryWith(scratch, [() => {}], limited);
    const first = new AbortController();
    const waiting = client.getManifest(REPOSITORY, TAG, { signal: first.signal });
    const second = new AbortController();
    const queued = client.getManifest(REPOSITORY, TAG, { signal: second.signal });
    await expect.poll(() => server.requests.length).toBe(1);
    second.abort(new Error('left the queue'));
    await expect(queued).rejects.toThrow('left the queue');
    first.abort(new Error('left the wait'));
    await expect(waiting).rejects.toThrow('left the wait');

    registry.habits = [habits.onKind('blob', endless({ sentBytes: 0 }))];
    const third = new AbortController();
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, { signal: third.signal });
    const reading = (async () => {
      for await (const _chunk of body) third.abort(new Error('left the body'));
    })();
    await expect(reading).rejects.toThrow('left the body');
    await expectFree(client, metrics);
  });

  test('an abort while the connection is being made does not wait for it', async () => {
    const { client, registries } = openClient(
      { host: 'swallows.test' },
      { lookup: fakeLookup({ 'swallows.test': ['192.0.2.1'] }), connectTimeoutMs: 10_000 },
    );
    scratch.defer(() => registries.close());
    const abort = new AbortController();
    const call = client.headManifest(REPOSITORY, TAG, { signal: abort.signal });
    setImmediate(() => abort.abort(new Error('left')));
    await expect(call).rejects.toThrow('left');
  });

  test('a signal that outlives its calls gathers no listeners', async () => {
    const { signal } = new AbortController();
    const { client, registry } = await registryWith(scratch, [], { maxRequests: 2 });
    const calls = Array.from({ length: 10 }, async () =>
      readAll((await client.getBlob(REPOSITORY, BLOB.digest, { signal })).body),
    );
    await Promise.all(calls);
    registry.habits = [habits.onMethod('GET', habits.sendsPart(5, 'reset'))];
    await failure(client.getManifest(REPOSITORY, TAG, { signal }));
    registry.habits = [];
    for await (const _chunk of (await client.getBlob(REPOSITORY, BLOB.digest, { signal })).body) break;
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('many blobs through few slots: each whole, none lost', async () => {
    const { client, server, metrics } = await registryWith(scratch, [], { maxRequests: 3 });
    await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const { body } = await client.getBlob(`team/app${index % 4}`, BLOB.digest, { ...patient, offset: index });
        expect((await readAll(body)).equals(BLOB.bytes.subarray(index))).toBe(true);
      }),
    );
    expect(server.requests).toHaveLength(30);
    expect(server.connections).toBeLessThanOrEqual(3);
    expect((await metrics.upstreamQueued.get()).values).toMatchObject([{ value: 0 }]);
  });
});
