import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { buildImage, digestOf, type ImageBlob, seededBytes } from '../support/image.ts';
import { Scratch } from '../support/scratch.ts';
import { SpecRegistry } from '../support/spec-registry.ts';

/** The conformance suite's cases of pulls, and the range cases that it keeps for registries that take pushes. */
const REPOSITORY = 'library/cases';
const image = buildImage({ seed: 'cases', layerBytes: [100_000, 500_000], index: true });
const referrer = buildImage({ seed: 'referrer', layerBytes: [100], subject: image.manifest });
const blob2048: ImageBlob = {
  bytes: seededBytes('2048', 2048),
  digest: digestOf(seededBytes('2048', 2048)),
  mediaType: 'application/octet-stream',
};
const MISSING = `sha256:${'0'.repeat(64)}`;

let scratch: Scratch;
let registry: SpecRegistry;
let agent: AgentProcess;

beforeAll(async () => {
  scratch = await Scratch.create();
  registry = await SpecRegistry.start(scratch);
  registry.add(REPOSITORY, ['v1', 'v2', 'v3'], image);
  registry.add(REPOSITORY, [], referrer);
  registry.add(REPOSITORY, [], { ...image, blobs: [blob2048] });
  agent = await AgentProcess.start(scratch, { registries: { 'docker.io': registry.url } });
});
afterAll(() => scratch?.dispose());

// The same three ways by which runtimes address an upstream.
const addresses = [
  { way: 'the default registry', address: (path: string) => `/v2/${REPOSITORY}/${path}` },
  { way: 'ns', address: (path: string) => withNs(`/v2/${REPOSITORY}/${path}`) },
  { way: 'a path prefix', address: (path: string) => `/v2/docker.io/${REPOSITORY}/${path}` },
];

function withNs(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}ns=docker.io`;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

async function ask(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(agent.mirrorUrl + path, init);
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
}

function expectErrors(answer: Answer, status: number): void {
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  const { errors } = JSON.parse(answer.body.toString('utf8'));
  expect(errors).toEqual([expect.objectContaining({ code: expect.stringMatching(/^[A-Z_]+$/) })]);
  expect(typeof errors[0].message).toBe('string');
}

test('GET /v2/ says that this is a registry', async () => {
  expect((await ask('/v2/')).status).toBe(200);
  expect((await ask('/v2/', { method: 'HEAD' })).status).toBe(200);
});

describe.each(addresses)('by $way', ({ address }) => {
  const manifests = [
    { what: 'the index by tag', reference: 'v1', held: image.top },
    { what: 'the index by digest', reference: image.top.digest, held: image.top },
    { what: 'the manifest by digest', reference: image.manifest.digest, held: image.manifest },
  ];

  test.each(manifests)('HEAD and GET of $what agree, and the bytes are as upstream has them', async (entry) => {
    const path = address(`manifests/${entry.reference}`);
    const head = await ask(path, { method: 'HEAD' });
    const get = await ask(path);

    for (const answer of [head, get]) {
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe(entry.held.mediaType);
      expect(answer.headers.get('content-length')).toBe(String(entry.held.bytes.length));
      expect(answer.headers.get('docker-content-digest')).toBe(entry.held.digest);
    }
    expect(head.body).toHaveLength(0);
    expect(get.body.equals(entry.held.bytes)).toBe(true);
  });

  test('HEAD and GET of each blob agree, and the bytes have their digest', async () => {
    for (const { digest, bytes } of image.blobs) {
      const head = await ask(address(`blobs/${digest}`), { method: 'HEAD' });
      const get = await ask(address(`blobs/${digest}`));
      for (const answer of [head, get]) {
        expect(answer.status).toBe(200);
        expect(answer.headers.get('content-length')).toBe(String(bytes.length));
        expect(answer.headers.get('content-encoding')).toBeNull();
      }
      expect(digestOf(get.body)).toBe(digest);
    }
  });

  test.each([
    ['a tag', 'manifests/none'],
    ['a manifest', `manifests/${MISSING}`],
    ['a blob', `blobs/${MISSING}`],
  ])('%s that does not exist is 404, with errors; HEAD the same without a body', async (_, path) => {
    expectErrors(await ask(address(path)), 404);
    const head = await ask(address(path), { method: 'HEAD' });
    expect(head.status).toBe(404);
    expect(head.body).toHaveLength(0);
  });

  test('tags/list, whole and in pages', async () => {
    const whole = await ask(address('tags/list'));
    expect(whole.status).toBe(200);
    expect(JSON.parse(whole.body.toString('utf8')).tags).toEqual(['v1', 'v2', 'v3']);

    const page = await ask(address('tags/list?n=1&last=v1'));
    expect(JSON.parse(page.body.toString('utf8')).tags).toEqual(['v2']);
    expect(page.headers.get('link')).toContain('rel="next"');
  });

  test('referrers: those of a manifest, and an empty index for one that has none', async () => {
    const some = await ask(address(`referrers/${image.manifest.digest}`));
    expect(some.status).toBe(200);
    expect(some.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
    expect(JSON.parse(some.body.toString('utf8')).manifests).toEqual([
      expect.objectContaining({ digest: referrer.manifest.digest }),
    ]);

    const none = await ask(address(`referrers/${MISSING}`));
    expect(none.status).toBe(200);
    expect(JSON.parse(none.body.toString('utf8')).manifests).toEqual([]);
  });
});

describe('ranges of a blob of 2048 bytes', () => {
  const path = `/v2/${REPOSITORY}/blobs/${blob2048.digest}`;

  test.each([
    ['500-1499', 500, 1500],
    ['500-', 500, 2048],
    ['-500', 1548, 2048],
    ['2000-5000', 2000, 2048],
    ['0-0', 0, 1],
    ['0-', 0, 2048],
  ])('bytes=%s is 206', async (range, start, end) => {
    const answer = await ask(path, { headers: { range: `bytes=${range}` } });

    expect(answer.status).toBe(206);
    expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/2048`);
    expect(answer.headers.get('content-length')).toBe(String(end - start));
    expect(answer.body.equals(blob2048.bytes.subarray(start, end))).toBe(true);
  });

  test.each(['500-0', '5000-10000', '2048-', '-0'])('bytes=%s is 416', async (range) => {
    const answer = await ask(path, { headers: { range: `bytes=${range}` } });

    expect(answer.status).toBe(416);
    expect(answer.headers.get('content-range')).toBe('bytes */2048');
  });

  test('several ranges at once get the whole', async () => {
    const answer = await ask(path, { headers: { range: 'bytes=0-1,5-6' } });

    expect(answer.status).toBe(200);
    expect(answer.body.equals(blob2048.bytes)).toBe(true);
  });

  test('a range is ignored on a manifest', async () => {
    const answer = await ask(`/v2/${REPOSITORY}/manifests/v1`, { headers: { range: 'bytes=0-9' } });

    expect(answer.status).toBe(200);
    expect(answer.body.equals(image.top.bytes)).toBe(true);
  });
});

describe('what is refused', () => {
  test.each([
    `manifests/sha256:baddigeststring`,
    `blobs/sha256:baddigeststring`,
    `blobs/md5:d41d8cd98f00b204e9800998ecf8427e`,
  ])('a malformed digest: %s', async (path) => {
    expectErrors(await ask(`/v2/${REPOSITORY}/${path}`), 400);
  });

  test('a registry that is not listed: 403', async () => {
    expectErrors(await ask(`/v2/${REPOSITORY}/manifests/v1?ns=elsewhere.example`), 403);
  });

  test.each([
    ['PUT', 'manifests/v1'],
    ['DELETE', 'manifests/v1'],
    ['DELETE', `blobs/${MISSING}`],
    ['POST', 'blobs/uploads/'],
    ['PATCH', `blobs/uploads/1`],
  ])('%s %s is 405, and nothing of it reaches upstream', async (method, path) => {
    const before = registry.requests.length;

    expectErrors(await ask(`/v2/${REPOSITORY}/${path}`, { method }), 405);

    expect(registry.requests.length).toBe(before);
  });
});

test('If-None-Match of what it has is answered with 304, and no body', async () => {
  const path = `/v2/${REPOSITORY}/blobs/${blob2048.digest}`;
  await ask(path);
  const etag = (await ask(path)).headers.get('etag') ?? '';
  expect(etag).not.toBe('');

  const answer = await ask(path, { headers: { 'if-none-match': etag } });

  expect(answer.status).toBe(304);
  expect(answer.body).toHaveLength(0);
});
