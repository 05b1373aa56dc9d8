import { describe, expect, test } from 'vitest';
import { BufferPool } from '../../../src/mirror/buffer-pool.ts';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { digestOf } from '../pull/scripted-source.ts';
import { startMirror } from './mirror-fixture.ts';

/** Near the limit of 4 MiB: more than a socket takes that nobody reads. */
const LARGE = Buffer.from(
  JSON.stringify({ schemaVersion: 2, config: {}, layers: [], annotations: { a: 'x'.repeat(4_100_000) } }),
);
/** So many on one connection that no buffers of the system hold them all. */
const PIPELINED = 4;

describe('answers that clients do not read', () => {
  test('a manifest: the connection is ended after the write timeout', async () => {
    const { mirror, upstream, connect } = await startMirror({ writeTimeoutMs: 100 });
    const path = `library/redis/manifests/${digestOf(LARGE)}`;
    upstream.serve(path, LARGE);
    const connection = await connect();
    connection.socket.pause();
    for (let count = 0; count < PIPELINED; count += 1) connection.get(`/v2/${path}`);
    await eventually(async () => (await open(mirror)) === 1, { what: 'the connection to be open' });
    await eventually(async () => (await open(mirror)) === 0, { what: 'the connection to be ended' });
    expect((await httpGet(mirror.url(path))).bytes.equals(LARGE)).toBe(true);
  });

  test('tag lists: past a number of bytes others are sent to their next host, until those are gone', async () => {
    const { mirror, upstream, connect } = await startMirror();
    const path = 'library/redis/tags/list';
    upstream.serve(path, LARGE, { 'content-type': 'application/json' });
    const connections = await Promise.all(Array.from({ length: 17 }, connect));
    for (const connection of connections) {
      connection.socket.pause();
      for (let count = 0; count < PIPELINED; count += 1) connection.get(`/v2/${path}`);
    }
    await eventually(async () => (await httpGet(mirror.url(path))).status === 503, { what: 'a refusal' });
    for (const connection of connections) connection.close();
    await eventually(async () => (await httpGet(mirror.url(path))).status === 200, { what: 'an answer' });
  });

  async function open(mirror: Awaited<ReturnType<typeof startMirror>>['mirror']): Promise<number | undefined> {
    return (await mirror.metrics.mirrorConnections.get()).values[0]?.value;
  }
});

test('buffers are small ones past a number, and large ones again when those are given back', () => {
  const pool = new BufferPool({ bufferBytes: 1000, smallBytes: 10, max: 2 });
  const taken = [pool.take(), pool.take(), pool.take(), pool.take()];
  expect(taken.map(({ length }) => length)).toEqual([1000, 1000, 10, 10]);
  for (const buffer of taken) pool.give(buffer);
  expect([pool.take(), pool.take(), pool.take()].map(({ length }) => length)).toEqual([1000, 1000, 10]);
});
