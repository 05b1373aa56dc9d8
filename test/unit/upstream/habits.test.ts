import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hasCode } from '../../../src/errors.ts';
import type { RegistriesOptions } from '../../../src/upstream/registries.ts';
import type { RegistryClient } from '../../../src/upstream/registry-client.ts';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry, type Habit } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, patient, readAll, registryWith } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const stage = (list: readonly Habit[], options: Partial<RegistriesOptions> = {}) =>
  registryWith(scratch, list, options);

const getBlob = (client: RegistryClient, options: { offset?: number; end?: number } = {}) =>
  client.getBlob(REPOSITORY, BLOB.digest, { ...patient, ...options });

describe('1. rate limits', () => {
  test('429: later calls are refused without a request while the pause lasts', async () => {
    const { client, server, metrics, log } = await stage([habits.answer(429, { 'retry-after': '60' })]);
    const first = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(first).toMatchObject({ code: 'UPSTREAM_RATE_LIMITED', upstreamStatus: 429, retryAfterMs: 60_000 });
    const second = await failure(client.getManifest('other/app', TAG, patient));
    expect(second.code).toBe('UPSTREAM_RATE_LIMITED');
    expect(second.retryAfterMs).toBeGreaterThan(50_000);
    expect(server.requests).toHaveLength(1);
    expect((await metrics.upstreamPaused.get()).values).toMatchObject([{ value: 1 }]);
    expect(log.filter(({ level }) => level === 40)).toHaveLength(1);
  });

  test('a short Retry-After is waited for by later calls', async () => {
    let skewMs = 0;
    const { client, server } = await stage([habits.times(1, habits.answer(429, { 'retry-after': '4' }))], {
      now: () => performance.now() + skewMs,
    });
    await failure(client.headManifest(REPOSITORY, TAG, patient));
    skewMs = 3_950;
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    expect(server.requests).toHaveLength(2);
  });

  test('503 with Retry-After pauses too, 503 without does not', async () => {
    const { client, server } = await stage([
      habits.times(1, habits.answer(503)),
      habits.times(1, habits.answer(503, { 'retry-after': '60' })),
    ]);
    expect(await failure(client.headManifest(REPOSITORY, TAG, patient))).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
    });
    const paused = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(paused).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE', retryAfterMs: 60_000 });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_RATE_LIMITED');
    expect(server.requests).toHaveLength(2);
  });

  test('calls that were queued when a long pause begins are refused at once', async () => {
    const held: (() => void)[] = [];
    const { client, server } = await stage(
      [({ response }) => void held.push(() => response.writeHead(429, { 'retry-after': '60' }).end())],
      { maxRequests: 1 },
    );
    const first = failure(client.headManifest(REPOSITORY, TAG, patient));
    const queued = [failure(client.headManifest(REPOSITORY, 'v2', patient)), failure(getBlob(client))];
    await expect.poll(() => held.length).toBe(1);
    held[0]?.();
    expect((await first).code).toBe('UPSTREAM_RATE_LIMITED');
    for (const call of queued) expect((await call).code).toBe('UPSTREAM_RATE_LIMITED');
    expect(server.requests).toHaveLength(1);
  });
});

test('1. calls that were queued when a short pause begins sit it out', async () => {
  const held: (() => void)[] = [];
  const arrivals: number[] = [];
  const { client } = await stage(
    [
      (_exchange, next) => {
        arrivals.push(performance.now());
        next();
      },
      habits.times(1, ({ response }) => void held.push(() => response.writeHead(429, { 'retry-after': '0.2' }).end())),
    ],
    { maxRequests: 1 },
  );
  const first = failure(client.headManifest(REPOSITORY, TAG, patient));
  const queued = client.headManifest(REPOSITORY, TAG, patient);
  await expect.poll(() => held.length).toBe(1);
  const refusedAt = performance.now();
  held[0]?.();
  expect(await first).toMatchObject({ code: 'UPSTREAM_RATE_LIMITED', retryAfterMs: 200 });
  expect(await queued).toMatchObject({ digest: MANIFEST.digest });
  expect((arrivals[1] ?? 0) - refusedAt).toBeGreaterThanOrEqual(200);
});

describe('2. no Docker-Content-Digest', () => {
  test.each(['absent', 'sha256:nonsense', 'md5:d41d8cd98f00b204e9800998ecf8427e'])(
    '%s: no digest is claimed',
    async (value) => {
      const { client } = await stage(
        value === 'absent'
          ? [habits.withoutHeader('docker-content-digest')]
          : [habits.withHeader('docker-content-digest', value)],
      );
      expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: undefined });
      expect(await client.getManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: undefined });
    },
  );
});

describe('3. content types', () => {
  test.each([
    ['missing', habits.withoutHeader('content-type'), undefined],
    ['text/plain', habits.withHeader('content-type', 'text/plain; charset=utf-8'), 'text/plain; charset=utf-8'],
  ])('%s is passed on for the reader to mend', async (_name, habit, contentType) => {
    const { client } = await stage([habit]);
    const manifest = await client.getManifest(REPOSITORY, TAG, patient);
    expect(manifest.contentType).toBe(contentType);
    expect(Buffer.from(manifest.bytes)).toEqual(MANIFEST.bytes);
  });

  test('a web page with 200 is no answer, to no question', async () => {
    const { client, server } = await stage([habits.webPage]);
    const calls = [
      client.headManifest(REPOSITORY, TAG, patient),
      client.getManifest(REPOSITORY, TAG, patient),
      client.headBlob(REPOSITORY, BLOB.digest, patient),
      getBlob(client),
      getBlob(client, { offset: 10 }),
    ];
    for (const call of calls) expect((await failure(call)).code).toBe('UPSTREAM_NONSENSE');
    expect(server.requests).toHaveLength(5);
  });
});

describe('4. HEAD not allowed', () => {
  test('405: a manifest’s head is unknown, a blob’s size comes from a GET of one byte', async () => {
    const { client, server } = await stage([habits.headNotAllowed]);
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toEqual({
      digest: undefined,
      contentType: undefined,
      sizeBytes: undefined,
    });
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });
    expect(server.seen('GET', /blobs/).map(({ headers }) => headers.range)).toEqual(['bytes=0-0']);
  });

  test('405 and no ranges: the size is Content-Length, and the body is not read', async () => {
    const { client, server } = await stage([
      habits.headNotAllowed,
      habits.ignoresRange,
      habits.onKind('blob', ({ response }) => {
        response.writeHead(200, { 'content-length': 1e12 });
        response.write('the beginning of a terabyte');
      }),
    ]);
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: 1e12 });
    await expect.poll(() => server.seen('GET', /blobs/)[0]?.sent).toBe('cut');
  });

  test('an address signed for GET alone', async () => {
    const storage = await FakeRegistry.start({ habits: [habits.objectStore, habits.getOnly] });
    scratch.defer(() => storage.close());
    const { client } = await stage([habits.redirects('blob', habits.signed(storage.server.url))]);
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });
  });

  test('a blob that is empty: 416 to its first byte says so', async () => {
    const { client } = await stage([
      habits.headNotAllowed,
      habits.onKind('blob', habits.answer(416, { 'content-range': 'bytes */0' })),
    ]);
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: 0 });
  });
});

describe('6. ranges', () => {
  test('ignored: the body begins at 0, and says so', async () => {
    const { client } = await stage([habits.ignoresRange]);
    const blob = await getBlob(client, { offset: 1_000, end: 1_999 });
    expect(blob).toMatchObject({ offset: 0, sizeBytes: BLOB.bytes.byteLength });
    expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
  });

  test.each([416, 400, 403])('refused with %i: asked once more without', async (status) => {
    const { client, server } = await stage([habits.refusesRange(status)]);
    const blob = await getBlob(client, { offset: 1_000 });
    expect(blob.offset).toBe(0);
    expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
    expect(server.requests.map(({ headers }) => headers.range)).toEqual(['bytes=1000-', undefined]);
  });

  test('honoured: both ends', async () => {
    const { client } = await stage([]);
    const blob = await getBlob(client, { offset: 1_000, end: 1_999 });
    expect(blob).toMatchObject({ offset: 1_000, sizeBytes: BLOB.bytes.byteLength });
    expect((await readAll(blob.body)).equals(BLOB.bytes.subarray(1_000, 2_000))).toBe(true);
  });

  const ranged = (contentRange: string | undefined, from: number): Habit =>
    habits.where(
      ({ request }) => request.headers.range !== undefined,
      ({ response }) => {
        if (contentRange !== undefined) response.setHeader('content-range', contentRange);
        response.writeHead(206);
        response.end(BLOB.bytes.subarray(from));
      },
    );

  test('answered from an earlier start: the start is what upstream says', async () => {
    const size = BLOB.bytes.byteLength;
    const { client } = await stage([ranged(`bytes 512-${size - 1}/${size}`, 512)]);
    const blob = await getBlob(client, { offset: 1_000 });
    expect(blob.offset).toBe(512);
    expect((await readAll(blob.body)).equals(BLOB.bytes.subarray(512))).toBe(true);
  });

  test.each([
    ['a later start', `bytes 2000-299999/300000`],
    ['no Content-Range', undefined],
    ['several ranges', 'multipart'],
  ])('%s: asked once more without', async (_name, contentRange) => {
    const { client, server } = await stage([ranged(contentRange, 2_000)]);
    const blob = await getBlob(client, { offset: 1_000 });
    expect(blob.offset).toBe(0);
    expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
    expect(server.requests).toHaveLength(2);
  });

  test('a 206 that ends before the range it was asked for is a cut, not an end', async () => {
    const { client } = await stage([
      ({ response }) => {
        response.writeHead(206, { 'content-range': 'bytes 1000-1999/300000', 'content-length': '1000' });
        response.end(BLOB.bytes.subarray(1_000, 2_000));
      },
    ]);
    const blob = await getBlob(client, { offset: 1_000 });
    expect((await failure(readAll(blob.body))).code).toBe('UPSTREAM_UNAVAILABLE');
  });
});

describe('7. Content-Encoding although identity was asked for', () => {
  test('gzip is undone, and the size is unknown', async () => {
    const { client } = await stage([habits.compresses]);
    const blob = await getBlob(client);
    expect(blob).toMatchObject({ offset: 0, sizeBytes: undefined });
    expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
    const manifest = await client.getManifest(REPOSITORY, TAG, patient);
    expect(Buffer.from(manifest.bytes)).toEqual(MANIFEST.bytes);
    expect(manifest.sizeBytes).toBe(MANIFEST.bytes.byteLength);
  });

  test('a range of a compressed form is no range of the blob', async () => {
    const { client } = await stage([
      habits.where(
        ({ request }) => request.headers.range !== undefined,
        habits.answer(
          206,
          {
            'content-range': 'bytes 0-4/300000',
            'content-encoding': 'gzip',
          },
          'xxxxx',
        ),
      ),
    ]);
    const blob = await getBlob(client, { offset: 3 });
    expect(blob.offset).toBe(0);
    expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
  });

  test('an encoding that nobody knows is refused', async () => {
    const { client } = await stage([habits.answer(200, { 'content-encoding': 'x-unheard-of' }, 'abc')]);
    expect((await failure(getBlob(client))).code).toBe('UPSTREAM_NONSENSE');
  });

  test('bytes that are not gzip are nonsense; a gzip stream that is cut is a cut', async () => {
    const { client, registry } = await stage([habits.answer(200, { 'content-encoding': 'gzip' }, 'plain text')]);
    expect((await failure(readAll((await getBlob(client)).body))).code).toBe('UPSTREAM_NONSENSE');
    registry.habits = [
      ({ response }) => {
        response.writeHead(200, { 'content-encoding': 'gzip' });
        response.write(Buffer.from('1f8b080000000000000033', 'hex'), () => response.socket?.end());
      },
    ];
    expect((await failure(readAll((await getBlob(client)).body))).code).toBe('UPSTREAM_UNAVAILABLE');
  });

  test('a reader that leaves a compressed body frees its slot', async () => {
    const stalls: Habit = ({ response }) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': 1e9 });
      response.write(gzipSync(BLOB.bytes).subarray(0, 50_000));
    };
    const { client } = await stage([habits.onKind('blob', stalls)], { maxRequests: 1 });
    const unread = await getBlob(client);
    await unread.body[Symbol.asyncIterator]().return?.();
    for await (const _chunk of (await getBlob(client)).body) break;
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  });
});

describe('11. what is refused is not absent', () => {
  test.each([401, 403])('%i', async (status) => {
    const { client } = await stage([habits.answer(status)]);
    for (const call of [
      client.headManifest(REPOSITORY, TAG, patient),
      getBlob(client),
      getBlob(client, { offset: 5 }),
    ]) {
      expect(await failure(call)).toMatchObject({ code: 'UPSTREAM_UNAUTHORIZED', upstreamStatus: status });
    }
    expect((await failure(client.relay(REPOSITORY, 'tags/list', patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
  });

  test.each([404, 410])('%i is', async (status) => {
    const { client } = await stage([habits.answer(status)]);
    expect(await failure(client.headManifest(REPOSITORY, TAG, patient))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failure(getBlob(client))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('12. bodies that are cut', () => {
  test.each(['fin', 'reset', 'chunked-cut'] as const)(
    '%s: the bytes that came, then UPSTREAM_UNAVAILABLE',
    async (how) => {
      const { client } = await stage([habits.sendsPart(100_000, how)]);
      const { body } = await getBlob(client);
      let received = 0;
      const error = await failure(
        (async () => {
          for await (const chunk of body) received += chunk.byteLength;
        })(),
      );
      expect(error.code).toBe('UPSTREAM_UNAVAILABLE');
      expect(error.message).toContain('GET registry.test /v2/team/app/blobs/sha256:');
      if (how !== 'reset') expect(received).toBe(100_000);
    },
  );

  test('a manifest that is cut is not returned', async () => {
    const { client } = await stage([
      ({ response }) => {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{', () => response.socket?.end());
      },
    ]);
    expect((await failure(client.getManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
  });
});

test('15. the bytes of a manifest are served as they came', async () => {
  const odd = Buffer.from('{\r\n\t"schemaVersion" : 2 , "x":"\\u00e9\ufeff" }\n\n');
  const { client } = await stage([habits.answer(200, {}, odd.toString())]);
  expect(Buffer.from((await client.getManifest(REPOSITORY, TAG, patient)).bytes)).toEqual(odd);
});

test('a manifest beyond 4 MiB is nonsense, and no more of it is read', async () => {
  const { client, server } = await stage([
    ({ response }) => {
      response.writeHead(200, { 'content-type': MANIFEST.mediaType });
      const write = (): void => {
        while (response.writable && response.write(Buffer.alloc(64 * 1024, 32)));
        if (response.writable) response.once('drain', write);
      };
      write();
    },
  ]);
  const error = await failure(client.getManifest(REPOSITORY, TAG, patient));
  expect(hasCode(error, 'UPSTREAM_NONSENSE')).toBe(true);
  await expect.poll(() => server.openConnections).toBe(0);
});

test('only 200 and 206 are bytes', async () => {
  for (const status of [201, 202, 204, 300, 304, 402, 418, 451, 500, 502, 504]) {
    const { client } = await stage([habits.answer(status)]);
    const code = (await failure(getBlob(client))).code;
    expect([status, code]).toEqual([status, status >= 451 ? 'UPSTREAM_UNAVAILABLE' : 'UPSTREAM_NONSENSE']);
  }
});

describe('relay', () => {
  test('passes status, the headers that matter and the bytes on', async () => {
    const { client, server } = await stage([
      habits.answer(404, { 'content-type': 'application/json', link: '<next>; rel="next"', 'set-cookie': 'a=b' }, '{}'),
    ]);
    const answer = await client.relay(REPOSITORY, 'tags/list?n=5&last=a%20b', {
      ...patient,
      accept: 'application/json',
    });
    expect(answer).toEqual({
      status: 404,
      headers: { 'content-type': 'application/json', link: '<next>; rel="next"' },
      bytes: Buffer.from('{}'),
    });
    expect(server.requests[0]).toMatchObject({
      path: '/v2/team/app/tags/list',
      headers: { accept: 'application/json' },
    });
    expect(server.requests[0]?.query.get('last')).toBe('a b');
  });

  test.each(['../../other/app/tags/list', '..%2f..%2fx', 'tags\\..\\..\\list', '/../../../x', 'a%5cb'])(
    'refuses a path that leaves the repository: %s',
    async (path) => {
      const { client, server } = await stage([]);
      const error = await failure(client.relay(REPOSITORY, path, patient));
      expect([error.code, server.requests.length]).toEqual(['INVALID_NAME', 0]);
    },
  );

  test('a path that looks like another host stays below the repository', async () => {
    const { client, server } = await stage([]);
    expect((await client.relay(REPOSITORY, '//evil.test/x', patient)).status).toBe(404);
    expect(server.requests.map(({ path }) => path)).toEqual(['/v2/team/app///evil.test/x']);
  });
});
