import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { BodySender, ClientGone, endEarly } from '../../../src/mirror/body-sender.ts';
import type { BlobReader } from '../../../src/pull/blob-reader.ts';
import { bytesOf, digestOf } from '../pull/scripted-source.ts';
import { RawConnection } from './raw-connection.ts';

const BYTES = bytesOf(1_000_000);
const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A reader of the first `available` bytes; then its end, or its failure. */
function readerOf(available: number, failure?: Error): BlobReader {
  return {
    digest: digestOf(BYTES),
    source: 'store',
    ingestId: undefined,
    sizeBytes: BYTES.length,
    promised: true,
    available,
    extent: undefined,
    opened: async () => BYTES.length,
    async wait(position) {
      if (position < available) return true;
      if (failure !== undefined) throw failure;
      return false;
    },
    read: async (target, position) => BYTES.copy(target, 0, position, Math.min(available, position + target.length)),
    close() {},
  };
}

/** Lets `send` answer one request; what it rejected with is in `failure`. */
async function serveWith(send: (response: ServerResponse, signal: AbortSignal) => Promise<void>) {
  const outcome = Promise.withResolvers<unknown>();
  const server = createServer((_, response) => {
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('left')));
    send(response, left.signal).then(() => outcome.resolve(undefined), outcome.resolve);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const connection = await RawConnection.open(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  closing.push(
    () => connection.close(),
    () => server.closeAllConnections(),
    () => server.close(),
  );
  connection.get('/');
  return { connection, failure: outcome.promise };
}

test('sends exactly the bytes from start to end', async () => {
  const sender = new BodySender(10_000);
  let counted = 0;
  const { connection, failure } = await serveWith(async (response, signal) => {
    response.writeHead(206, { 'content-length': 600_000 });
    const onBytes = (count: number) => {
      counted += count;
    };
    await sender.send(response, readerOf(BYTES.length), { start: 5, end: 600_005, signal, onBytes });
    response.end();
  });
  expect((await connection.answer()).body.equals(BYTES.subarray(5, 600_005))).toBe(true);
  expect(await failure).toBeUndefined();
  expect(counted).toBe(600_000);
});

test('a blob that ends before what the client was told is a failure, not the end of the answer', async () => {
  const sender = new BodySender(10_000);
  const { connection, failure } = await serveWith(async (response, signal) => {
    response.writeHead(200, { 'content-length': BYTES.length });
    try {
      await sender.send(response, readerOf(700_000), { start: 0, end: BYTES.length, signal, onBytes() {} });
    } catch (error) {
      endEarly(response);
      throw error;
    }
  });
  expect(await failure).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
  expect(await connection.ended()).toBe('fin');
  await connection.head();
  expect(connection.received.equals(BYTES.subarray(0, 700_000))).toBe(true);
});

test("the reader's failure comes after the bytes before it were handed over", async () => {
  const sender = new BodySender(10_000);
  const broken = new WindlassError('DIGEST_MISMATCH', 'wrong');
  const { connection, failure } = await serveWith(async (response, signal) => {
    response.writeHead(200, { 'content-length': BYTES.length });
    try {
      await sender.send(response, readerOf(999_999, broken), { start: 0, end: BYTES.length, signal, onBytes() {} });
    } catch (error) {
      endEarly(response);
      throw error;
    }
  });
  expect(await failure).toBe(broken);
  expect(await connection.ended()).toBe('fin');
  await connection.head();
  expect(connection.received.equals(BYTES.subarray(0, 999_999))).toBe(true);
});

test('a client that leaves is no failure of the blob', async () => {
  const sender = new BodySender(10_000);
  const endless: BlobReader = {
    ...readerOf(BYTES.length),
    wait: async () => true,
    read: async (target) => target.length,
  };
  const { connection, failure } = await serveWith(async (response, signal) => {
    response.writeHead(200);
    await sender.send(response, endless, { start: 0, end: undefined, signal, onBytes() {} });
  });
  await connection.head();
  connection.close();
  expect(await failure).toBeInstanceOf(ClientGone);
});
