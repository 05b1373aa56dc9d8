import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hexOf } from '../../../src/oci/digest.ts';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { buildImage, digestOf } from '../../support/image.ts';
import { LocalMirror } from '../../support/local-mirror.ts';
import { ScriptedUpstream } from '../../support/scripted-upstream.ts';

const [INFO, WARN] = [30, 40];
const MIB = 1024 * 1024;
const lines: Record<string, unknown>[] = [];
let upstream: ScriptedUpstream;
let mirror: LocalMirror;

beforeEach(async () => {
  lines.length = 0;
  upstream = await ScriptedUpstream.start();
  mirror = await LocalMirror.start({
    registries: [{ host: 'docker.io', endpoint: `http://${upstream.address}` }],
    logger: pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) }),
  });
});

afterEach(async () => {
  await mirror.stop();
  await upstream.stop();
});

test('all that is logged of one image carries its pull id: the tag, manifests, ingests and blobs', async () => {
  const image = buildImage({ layerBytes: [1000, 2000], index: true });
  const { top, manifest } = image;
  const headers = { 'content-type': top.mediaType, 'docker-content-digest': top.digest };
  upstream.serve('library/x/manifests/latest', top.bytes, headers);
  upstream.serve(`library/x/manifests/${top.digest}`, top.bytes, headers);
  upstream.serve(`library/x/manifests/${manifest.digest}`, manifest.bytes, { 'content-type': manifest.mediaType });
  for (const blob of image.blobs) upstream.serve(`library/x/blobs/${blob.digest}`, blob.bytes);

  for (const path of ['latest', top.digest, manifest.digest]) await httpGet(mirror.url(`library/x/manifests/${path}`));
  for (const { digest } of image.blobs) await httpGet(mirror.url(`library/x/blobs/${digest}`));
  const about = (message: string) => lines.filter(({ msg }) => msg === message);
  await eventually(() => about('ingest ended').length === image.blobs.length && about('request').length === 6);

  const of = [...about('request'), ...about('manifest fetched'), ...about('ingest ended')];
  expect(of).toHaveLength(6 + 2 + 3);
  for (const line of of) expect(line).toMatchObject({ pull: hexOf(top.digest).slice(0, 12) });
  const ingests = about('ingest ended').map(({ ingest }) => ingest);
  expect(about('request').map(({ ingest }) => ingest)).toEqual(expect.arrayContaining(ingests));
});

test('what is not there is told, but is no warning; what cannot be had is one', async () => {
  const digest = digestOf(Buffer.from('neither'));
  await httpGet(mirror.url(`library/x/blobs/${digest}`));
  upstream.on(`library/x/manifests/${digest}`, (_request, response) => {
    response.writeHead(500).end();
  });
  await httpGet(mirror.url(`library/x/manifests/${digest}`));
  const requests = () => lines.filter(({ msg }) => msg === 'request');
  await eventually(() => requests().length === 2);
  expect(requests()).toMatchObject([
    { level: INFO, status: 404, code: 'NOT_FOUND' },
    { level: WARN, status: 503, code: 'UPSTREAM_UNAVAILABLE' },
  ]);
});

test('the time of a blob is that of a whole one: not of HEAD, a range, or what was not there', async () => {
  const bytes = Buffer.alloc(5000, 'b');
  const digest = digestOf(bytes);
  upstream.serve(`library/x/blobs/${digest}`, bytes);
  const url = mirror.url(`library/x/blobs/${digest}`);
  const times = async () => {
    const { values } = await mirror.metrics.mirrorBlob.get();
    const counts = values.filter(({ metricName }) => metricName === 'windlass_mirror_blob_seconds_count');
    return Object.fromEntries(counts.map(({ labels, value }) => [labels.source, value]));
  };
  expect(await times()).toEqual({ store: 0, content: 0, ingest: 0, peer: 0, upstream: 0 });

  await httpGet(url);
  await eventually(() => lines.some(({ msg }) => msg === 'ingest ended'));
  await httpGet(url);
  await httpGet(url, { method: 'HEAD' });
  await httpGet(url, { headers: { range: 'bytes=0-9' } });
  await httpGet(mirror.url(`library/x/blobs/${digestOf(Buffer.from('neither'))}`));
  await eventually(() => lines.filter(({ msg }) => msg === 'request').length === 5);

  expect(await times()).toMatchObject({ upstream: 1, store: 1 });
});

test('bytes are counted while they are sent, not when a long pull has ended; none is missed, none counted twice', async () => {
  const bytes = Buffer.alloc(4 * MIB + 77, 'c');
  const digest = digestOf(bytes);
  const rest = Promise.withResolvers<void>();
  upstream.on(`library/x/blobs/${digest}`, async (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 3 * MIB));
    await rest.promise;
    response.end(bytes.subarray(3 * MIB));
  });
  const sent = async () => {
    const { values } = await mirror.metrics.mirrorBytes.get();
    return Object.fromEntries(values.map(({ labels, value }) => [labels.source, value]));
  };

  const pulling = httpGet(mirror.url(`library/x/blobs/${digest}`));
  const counted = await eventually(async () => {
    const { upstream: count = 0 } = await sent();
    return count >= 2 * MIB && count;
  });
  expect(counted).toBeLessThanOrEqual(3 * MIB);
  expect(lines.some(({ msg }) => msg === 'request')).toBe(false);
  rest.resolve();
  expect((await pulling).bytes.equals(bytes)).toBe(true);
  await eventually(() => lines.some(({ msg }) => msg === 'request'));

  expect(await sent()).toEqual({ upstream: bytes.length, store: 0, content: 0, ingest: 0, peer: 0, none: 0 });
});

test.each(['DIGEST_MISMATCH', 'INTERNAL'])('bodies that ended early by %s are counted from 0 on', async (code) => {
  expect(await mirror.metrics.registry.metrics()).toContain(`windlass_mirror_broken_responses_total{code="${code}"} 0`);
});
