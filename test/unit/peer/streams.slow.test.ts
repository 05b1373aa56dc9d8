import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { NotAsked, WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { PeerEvent, PeerOffers } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { eventually } from '../../support/eventually.ts';
import {
  echo,
  holding,
  newBlob,
  piecesOf,
  readAll,
  type StartedServer,
  soon,
  startClient,
  startServer,
} from './peer-fixture.ts';

const { signal } = soon;
const MIB = 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Offers these events for any digest. */
function offering(events: () => AsyncIterable<PeerEvent>, path: string[] = []): PeerOffers {
  return { offer: async () => ({ sizeBytes: undefined, path, events: events() }) };
}

/** Never ends, and never says anything, but leaves when it is told to. */
async function* silence(until: AbortSignal = signal): AsyncGenerator<PeerEvent> {
  await new Promise<void>((resolve) => until.addEventListener('abort', () => resolve(), { once: true }));
}

describe.each(['tls', 'none'] as const)('between two agents, encryption %s,', (encryption) => {
  const start = (options: Parameters<typeof startServer>[0] = {}): Promise<StartedServer> =>
    startServer({ encryption, ...options });
  const { digest } = newBlob(1);

  it('carries calls both ways, with the caller named by its proof', async () => {
    const { member, identity } = await start();
    const client = await startClient({ encryption });
    const answer = (await client.call(member, 'claims', { a: [1, 2] }, soon)) as { from: string; body: unknown };
    expect(answer.body).toEqual({ a: [1, 2] });
    expect(answer.from).toMatch(/^12D3Koo/);
    expect(answer.from).not.toBe(identity.peerId);
    expect(client.connections).toBe(1);
  });

  it('lets other calls pass those that are held, and calls nobody silent to whom nothing was said', async () => {
    const gate = Promise.withResolvers<void>();
    const opened: (() => void)[] = [];
    const hold = async (_: unknown, body: unknown) => {
      if (body !== 'held') return body;
      await Promise.race([gate.promise, new Promise<void>((resolve) => opened.push(resolve))]);
      return 'at last';
    };
    const { member } = await startServer({ encryption, handlers: { claims: hold } });
    const client = await startClient({ encryption });
    const held = Array.from({ length: 16 }, () => client.call(member, 'claims', 'held', { ...soon, held: true }));
    expect(await client.call(member, 'claims', 'renewal', soon)).toBe('renewal');
    const calls = Array.from({ length: 16 }, () => client.call(member, 'claims', 'held', soon));
    expect(await client.call(member, 'roster', 'probe', soon)).toMatchObject({ body: 'probe' });
    for (const kind of [{}, { held: true }]) {
      const late = client.call(member, 'claims', 'late', { ...soon, ...kind, timeoutMs: 200 });
      await expect(late).rejects.toBeInstanceOf(NotAsked);
    }
    // It has its turn in the end, with too little time left for the other one's silence to mean anything.
    const last = client.call(member, 'claims', 'held', { ...soon, timeoutMs: 1_500 });
    const first = calls.map((call) => call.catch(() => {}));
    await new Promise((resolve) => setTimeout(resolve, 700));
    opened.at(-1)?.();
    await expect(last).rejects.toBeInstanceOf(NotAsked);
    await Promise.race(first);
    gate.resolve();
    expect(new Set(await Promise.all([...held, ...calls]))).toEqual(new Set(['at last']));
    expect(await client.call(member, 'claims', 'again', soon)).toBe('again');
  });

  it('carries calls to an address whose agent is not known yet', async () => {
    const { member } = await start();
    const client = await startClient({ encryption });
    expect(await client.call(member.dataAddress, 'roster', 'who is there', soon)).toMatchObject({
      body: 'who is there',
    });
  });

  it('carries a blob whole, and keeps the connection for the next', async () => {
    const blob = newBlob(5 * MIB + 123);
    const { parent, server, metrics } = await start({ offers: holding(blob) });
    const received = new Metrics();
    const client = await startClient({ encryption, metrics: received, zoneOf: () => 'other' });
    for (let i = 0; i < 3; i += 1) {
      const stream = await client.open(parent, blob.digest, { offset: 0, signal });
      expect(stream.sizeBytes).toBe(blob.bytes.length);
      expect((await readAll(stream.events)).equals(blob.bytes)).toBe(true);
      expect(client.connections).toBe(1);
    }
    expect(client.downloads).toEqual([]);
    await eventually(() => server.uploads.length === 0);
    expect((await metrics.peerSentBytes.get()).values[0]?.value).toBe(3 * blob.bytes.length);
    expect((await received.peerReceivedBytes.get()).values).toContainEqual(
      expect.objectContaining({ labels: { zone: 'other' }, value: 3 * blob.bytes.length }),
    );
  });

  it('forgets an agent that is thought dead: what is unused is closed, a blob that comes all the same is not', async () => {
    const blob = newBlob(5 * MIB + 1);
    const { member, parent } = await start({ offers: holding(blob) });
    const client = await startClient({ encryption });
    await Promise.all([client.call(member, 'claims', 1, soon), client.call(member, 'claims', 2, soon)]);
    const { events } = await client.open(parent, blob.digest, { offset: 0, signal });
    expect(client.connections).toBe(2);
    client.forget(member);
    await eventually(() => client.connections === 1);
    expect((await readAll(events)).equals(blob.bytes)).toBe(true);
    expect(await client.call(member, 'claims', 3, soon)).toMatchObject({ body: 3 });
  });

  it('begins with the piece that contains the offset', async () => {
    const blob = newBlob(3 * MIB + 5);
    const { parent } = await start({ offers: holding(blob) });
    const client = await startClient({ encryption });
    const { events } = await client.open(parent, blob.digest, { offset: 2 * PIECE_BYTES + 17, signal });
    expect((await readAll(events)).equals(blob.bytes.subarray(2 * PIECE_BYTES))).toBe(true);
  });

  it('keeps the bytes of a piece until the next one is asked for, however slow its reader', async () => {
    const blob = newBlob(7 * MIB + 1);
    const { parent, server } = await start({ offers: holding(blob) });
    const client = await startClient({ encryption });
    const { events } = await client.open(parent, blob.digest, { offset: 0, signal });
    let last = -1;
    const settled = () => {
      const sent = server.uploads[0]?.bytes ?? blob.bytes.length;
      const same = sent === last;
      last = sent;
      return same;
    };
    const parts: Buffer[] = [];
    for await (const event of events) {
      await eventually(settled, { everyMs: 60 });
      if (event.type === 'piece') parts.push(Buffer.from(event.piece.bytes));
    }
    expect(Buffer.concat(parts).equals(blob.bytes)).toBe(true);
  });

  it('hands over pieces, path, waiting, moved and strained as they were offered', async () => {
    const blob = newBlob(MIB + 9);
    const events: PeerEvent[] = [
      { type: 'waiting', written: 7 },
      { type: 'path', path: ['12D3KooWa', '12D3KooWb'] },
      { type: 'moved' },
      { type: 'strained' },
    ];
    const offered = async function* () {
      yield* events;
      yield* piecesOf(blob);
    };
    const { parent } = await start({ offers: offering(offered, ['12D3KooWa']) });
    const client = await startClient({ encryption });
    const stream = await client.open(parent, digest, { offset: 0, signal });
    expect(stream).toMatchObject({ sizeBytes: undefined, path: ['12D3KooWa'] });
    const got: PeerEvent[] = [];
    for await (const event of stream.events) got.push(event);
    expect(got.slice(0, 4)).toEqual(events);
    const piece = got[5]?.type === 'piece' ? got[5].piece : undefined;
    expect(piece).toMatchObject({ index: 1, written: MIB + 9, proof: { signer: '12D3KooWsigner' } });
    expect(Buffer.from(piece?.proof.signature ?? []).equals(Buffer.alloc(64, 1))).toBe(true);
  });

  it('says that it waits, where nothing is offered', async () => {
    const { parent } = await start({ offers: offering(silence) });
    const client = await startClient({ encryption, stallTimeoutMs: 5_000 });
    const { events } = await client.open(parent, digest, { offset: 0, signal });
    let waiting = 0;
    for await (const event of events) {
      if (event.type === 'waiting') waiting += 1;
      if (waiting === 5) break;
    }
    expect(waiting).toBe(5);
  });

  it('passes on what an ingest failed with', async () => {
    const fails = async function* (): AsyncGenerator<PeerEvent> {
      yield { type: 'waiting', written: 0 };
      throw new WindlassError('UPSTREAM_UNAUTHORIZED', 'the registry refused', { upstreamStatus: 403 });
    };
    const { parent } = await start({ offers: offering(fails) });
    const client = await startClient({ encryption });
    const { events } = await client.open(parent, digest, { offset: 0, signal });
    await expect(readAll(events)).rejects.toMatchObject({
      code: 'PEER_FAILED',
      message: 'the registry refused',
      upstreamStatus: 403,
      cause: { code: 'UPSTREAM_UNAUTHORIZED' },
    });
  });

  it('says what it has not, and what it cannot', async () => {
    const { parent, member } = await start({
      handlers: {
        claims: async () => {
          throw new WindlassError('PEER_BUSY', 'come back later');
        },
        index: async () => {
          throw new TypeError('a bug');
        },
      },
    });
    const client = await startClient({ encryption });
    await expect(client.open(parent, digest, { offset: 0, signal })).rejects.toMatchObject({ code: 'PEER_MISSING' });
    const busy = { code: 'PEER_BUSY', message: expect.stringContaining('come back later') };
    await expect(client.call(member, 'claims', 1, soon)).rejects.toMatchObject(busy);
    await expect(client.call(member, 'index', 1, soon)).rejects.toMatchObject({
      code: 'PEER_BUSY',
      message: expect.not.stringContaining('bug'),
    });
    await expect(client.call(member, 'claims', 'x'.repeat(300_000), soon)).rejects.toMatchObject({
      code: 'PEER_NONSENSE',
    });
    expect(await client.call(member, 'roster', 'still there', soon)).toMatchObject({ body: 'still there' });
  });

  it('takes a large index, and no larger one', async () => {
    const { member } = await start();
    const client = await startClient({ encryption });
    const text = 'x'.repeat(7 * MIB);
    expect(await client.call(member, 'index', text, soon)).toMatchObject({ body: text });
    await expect(client.call(member, 'index', 'x'.repeat(9 * MIB), soon)).rejects.toMatchObject({
      code: 'PEER_NONSENSE',
    });
  });

  it('closes the connection of a stream that is left, and tells the offer', async () => {
    const blob = newBlob(64 * MIB);
    let left: AbortSignal | undefined;
    const offers: PeerOffers = {
      offer: (asked, options) => {
        left = options.signal;
        return holding(blob).offer(asked, options);
      },
    };
    const { parent, server } = await start({ offers });
    const client = await startClient({ encryption });
    const { events } = await client.open(parent, blob.digest, { offset: 0, signal });
    for await (const event of events) if (event.type === 'piece') break;
    await eventually(() => left?.aborted === true && server.uploads.length === 0);
    expect([client.connections, client.downloads.length]).toEqual([0, 0]);
  });

  it('ends a stream by its signal, with the signal’s reason', async () => {
    const { parent, server } = await start({ offers: offering(silence) });
    const client = await startClient({ encryption });
    const abort = new AbortController();
    const { events } = await client.open(parent, digest, { offset: 0, signal: abort.signal });
    const ended = readAll(events);
    abort.abort(new Error('enough'));
    await expect(ended).rejects.toThrow('enough');
    await eventually(() => server.uploads.length === 0);
  });

  it('tells a handler when its caller has left, or waits no longer', async () => {
    const signals: AbortSignal[] = [];
    const { member } = await start({
      handlers: {
        claims: (_from, _body, callSignal) => {
          signals.push(callSignal);
          return new Promise((_, reject) =>
            callSignal.addEventListener('abort', () => reject(callSignal.reason), { once: true }),
          );
        },
      },
    });
    const client = await startClient({ encryption });
    const abort = new AbortController();
    const left = client.call(member, 'claims', 1, { signal: abort.signal, timeoutMs: 15_000 });
    await eventually(() => signals.length === 1);
    abort.abort(new Error('enough'));
    await expect(left).rejects.toThrow('enough');
    await eventually(() => signals[0]?.aborted === true);
    const late = client.call(member, 'claims', 1, { signal, timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'PEER_SILENT' });
    await eventually(() => signals.length === 1 || signals[1]?.aborted === true);
  });

  it('serves 16 of 300 readers at once, and tells the others that it is busy', async () => {
    const blob = newBlob(2 * MIB);
    const gate = Promise.withResolvers<void>();
    const gated = async function* () {
      await gate.promise;
      yield* piecesOf(blob);
    };
    const { parent, server, metrics } = await start({ maxUploads: 16, offers: offering(gated) });
    const client = await startClient({ encryption, connectTimeoutMs: 15_000, firstByteTimeoutMs: 15_000 });
    const asked = Array.from({ length: 300 }, () => client.open(parent, blob.digest, { offset: 0, signal }));
    const opened = await Promise.allSettled(asked);
    const streams = opened.filter((result) => result.status === 'fulfilled').map(({ value }) => value);
    const refused = opened.filter((result) => result.status === 'rejected').map(({ reason }) => reason.code);
    expect([streams.length, server.uploads.length, client.downloads.length]).toEqual([16, 16, 16]);
    expect(refused).toEqual(Array(284).fill('PEER_BUSY'));
    expect((await metrics.peerRefused.get()).values).toContainEqual(
      expect.objectContaining({ labels: { plane: 'data', reason: 'busy' }, value: 284 }),
    );
    gate.resolve();
    const bodies = await Promise.all(streams.map(({ events }) => readAll(events)));
    expect(bodies.every((body) => body.equals(blob.bytes))).toBe(true);
    expect((await readAll((await client.open(parent, blob.digest, { offset: 0, signal })).events)).length).toBe(
      2 * MIB,
    );
  });

  it('lets the taker of a seat in, although all slots are taken', async () => {
    const { parent, server } = await start({ maxUploads: 1, offers: offering(silence) });
    const [slow, fast] = [await startClient({ encryption }), await startClient({ encryption })];
    await slow.open(parent, digest, { offset: 0, signal });
    const busy = { code: 'PEER_BUSY' };
    await expect(fast.open(parent, digest, { offset: 0, signal })).rejects.toMatchObject(busy);
    const replaces = server.uploads[0]?.peerId;
    await fast.open(parent, digest, { offset: 0, replaces, signal });
    await expect(fast.open(parent, digest, { offset: 0, replaces, signal })).rejects.toMatchObject(busy);
    expect(server.uploads.length).toBe(2);
  });

  it('finds another agent at the address where it knew one', async () => {
    const { member } = await start();
    const other = await start();
    const client = await startClient({ encryption });
    const moved = { ...member, dataAddress: other.member.dataAddress };
    await expect(client.call(moved, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_GONE' });
    expect(client.connections).toBe(0);
  });

  it('asks again on a new connection, where the kept one leads to an agent that was restarted', async () => {
    const { member, server, identity } = await start();
    const client = await startClient({ encryption });
    await client.call(member, 'claims', 1, soon);
    await server.stop();
    await expect(client.call(member, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_GONE' });
    const [host = '', port] = member.dataAddress.split(':');
    await start({ identity, listen: { host, port: Number(port) }, handlers: { claims: echo } });
    expect(await client.call(member, 'claims', 2, soon)).toMatchObject({ body: 2 });
  });

  it('holds little for readers that do not read', async () => {
    const blob = newBlob(32 * MIB);
    const { parent, server } = await start({ maxUploads: 32, offers: holding(blob) });
    const client = await startClient({ encryption });
    const used = () => {
      // What earlier tests left behind is not theirs, nor what nobody has any more.
      collectGarbage();
      const { arrayBuffers, external } = process.memoryUsage();
      return arrayBuffers + external;
    };
    const before = used();
    for (let i = 0; i < 32; i += 1) await client.open(parent, blob.digest, { offset: 0, signal });
    let last = -1;
    await eventually(
      () => {
        const sent = server.uploads.reduce((sum, { bytes }) => sum + bytes, 0);
        const settled = sent === last;
        last = sent;
        return settled;
      },
      { everyMs: 300 },
    );
    // Two pieces of a reader, and a slice of a sender, TLS's copy of it along.
    expect(used() - before).toBeLessThan(32 * 8 * PIECE_BYTES);
    expect(last).toBeLessThan(32 * blob.bytes.length);
  });
});
