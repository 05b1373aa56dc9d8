import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { endFrame, PIECES_TYPE, pathFrame, pieceHead, waitingFrame } from '../../../src/peer/frames.ts';
import { PROOF_HEADER } from '../../../src/peer/membership.ts';
import type { PeerEvent } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { eventually } from '../../support/eventually.ts';
import { startMutePeer, startRawPeer } from './fake-peer.ts';
import {
  holding,
  memberAt,
  newBlob,
  newIdentity,
  readAll,
  SECRET,
  scratchOfTest,
  secretsOf,
  soon,
  startClient,
  startServer,
} from './peer-fixture.ts';

const { signal } = soon;
/** Where it is the silence that is looked at. */
const SOON_SILENT_MS = 300;
const blob = newBlob(PIECE_BYTES);
const proof = { hash: Buffer.alloc(32), signer: '12D3KooWsigner', signature: Buffer.alloc(64) };
const head = (length: number) => pieceHead({ index: 0, length, written: 0, proof });
const oversize = Buffer.from(head(1));
oversize.writeUInt32BE(PIECE_BYTES + 1, 5);

/** An agent that proves to be a member, and then says something else than it should. */
async function startBroken(onRequest: (socket: TLSSocket, headers: string) => void, stallTimeoutMs = 10_000) {
  const identity = await newIdentity();
  const address = await startRawPeer(
    identity,
    (socket, header) => onRequest(socket, `${PROOF_HEADER}: ${header}\r\n`),
    await secretsOf(SECRET),
  );
  const client = await startClient({ stallTimeoutMs, firstByteTimeoutMs: 10_000, connectTimeoutMs: 10_000 });
  return {
    client,
    member: memberAt(identity.peerId, address),
    read: async () => {
      const parent = { peerId: identity.peerId, dataAddress: address, role: 'relay' } as const;
      return readAll((await client.open(parent, blob.digest, { offset: 0, signal })).events);
    },
  };
}

const streamHead = (headers: string) =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${PIECES_TYPE}\r\ntransfer-encoding: chunked\r\n${headers}\r\n`;
const chunk = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);

describe('an answer to a call that makes no sense', () => {
  it.each<[string, (headers: string) => string | Buffer]>([
    ['no HTTP', () => 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['HTTP/1.0', (h) => `HTTP/1.0 200 OK\r\n${h}content-length: 2\r\n\r\n{}`],
    ['an answer to come', (h) => `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n${h}content-length: 2\r\n\r\n{}`],
    ['no length', (h) => `HTTP/1.1 200 OK\r\n${h}\r\n{}`],
    ['two lengths', (h) => `HTTP/1.1 200 OK\r\n${h}content-length: 2\r\ncontent-length: 2\r\n\r\n{}`],
    ['a length and chunks', (h) => `HTTP/1.1 200 OK\r\n${h}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}`],
    ['a length below nothing', (h) => `HTTP/1.1 200 OK\r\n${h}content-length: -2\r\n\r\n{}`],
    ['a header without a name', (h) => `HTTP/1.1 200 OK\r\n${h}: 2\r\n\r\n{}`],
    ['a head without an end', (h) => `HTTP/1.1 200 OK\r\n${h}x: ${'y'.repeat(100_000)}`],
    ['a chunk of no size', (h) => `HTTP/1.1 200 OK\r\n${h}transfer-encoding: chunked\r\n\r\n-5\r\n{}`],
    ['a chunk without an end', (h) => `HTTP/1.1 200 OK\r\n${h}transfer-encoding: chunked\r\n\r\n2\r\n{}junk\r\n`],
    ['no JSON', (h) => `HTTP/1.1 200 OK\r\n${h}content-length: 4\r\n\r\n{{{{`],
    ['too much', (h) => `HTTP/1.1 200 OK\r\n${h}content-length: 99999999\r\n\r\n${'x'.repeat(9_000_000)}`],
    ['a second answer', (h) => `HTTP/1.1 400 Bad\r\n${h}content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n`],
  ])('is refused: %s', async (_what, answer) => {
    const { client, member } = await startBroken((socket, headers) => socket.write(answer(headers)));
    await expect(client.call(member, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_NONSENSE' });
    await eventually(() => client.connections <= 1);
  });
});

describe('a stream that makes no sense', () => {
  it.each<[string, (headers: string) => (string | Buffer)[]]>([
    ['another type', (h) => [`HTTP/1.1 200 OK\r\n${h}content-length: 2\r\n\r\n{}`]],
    ['no path first', (h) => [streamHead(h), chunk(waitingFrame(1))]],
    ['a frame of no type', (h) => [streamHead(h), chunk(pathFrame([])), chunk(Buffer.from([99]))]],
    ['a piece too long', (h) => [streamHead(h), chunk(pathFrame([])), chunk(oversize)]],
    ['a path too long', (h) => [streamHead(h), chunk(Buffer.from([3, 0xff, 0xff, 0xff, 0xff]))]],
    ['no end', (h) => [streamHead(h), chunk(pathFrame([])), '0\r\n\r\n']],
    ['more than the end', (h) => [streamHead(h), chunk(pathFrame([])), chunk(endFrame), chunk(endFrame)]],
    ['a size that is none', (h) => [streamHead(`${h}windlass-size: 1e9\r\n`), chunk(pathFrame([]))]],
  ])('is left: %s', async (_what, answer) => {
    const { read, client } = await startBroken((socket, headers) => {
      for (const bytes of answer(headers)) socket.write(bytes);
    });
    await expect(read()).rejects.toMatchObject({ code: 'PEER_NONSENSE' });
    expect([client.connections, client.downloads.length]).toEqual([0, 0]);
  });
});

describe('an agent that stalls', () => {
  it('that accepts and says nothing, not even TLS, is silent', async () => {
    const address = await startMutePeer();
    const client = await startClient({ connectTimeoutMs: 50 });
    const { peerId } = await newIdentity();
    const silent = { code: 'PEER_SILENT' };
    await expect(client.call(memberAt(peerId, address), 'claims', 1, soon)).rejects.toMatchObject(silent);
    await expect(client.call(address, 'claims', 1, soon)).rejects.toMatchObject(silent);
    const parent = { peerId, dataAddress: address, role: 'holder' } as const;
    await expect(client.open(parent, blob.digest, { offset: 0, signal })).rejects.toMatchObject(silent);
    expect(client.connections).toBe(0);
  });

  it('that takes a call and never answers is silent', async () => {
    const { client, member } = await startBroken(() => {});
    const call = client.call(member, 'claims', 1, { signal, timeoutMs: 50 });
    await expect(call).rejects.toMatchObject({ code: 'PEER_SILENT' });
  });

  it('that says a path and then nothing is silent', async () => {
    const { read, client } = await startBroken((socket, headers) => {
      socket.write(Buffer.concat([Buffer.from(streamHead(headers)), chunk(pathFrame([]))]));
    }, SOON_SILENT_MS);
    await expect(read()).rejects.toMatchObject({ code: 'PEER_SILENT' });
    expect([client.connections, client.downloads.length]).toEqual([0, 0]);
  });

  it('that sends a byte now and then is silent too', async () => {
    const scratch = await scratchOfTest();
    const { read } = await startBroken((socket, headers) => {
      socket.write(Buffer.concat([Buffer.from(streamHead(headers)), chunk(pathFrame([])), chunk(head(PIECE_BYTES))]));
      const timer = setInterval(() => socket.write(chunk(Buffer.from([1]))), 20);
      scratch.defer(() => clearInterval(timer));
    }, SOON_SILENT_MS);
    await expect(read()).rejects.toMatchObject({ code: 'PEER_SILENT' });
  });
});

describe('an agent that dies', () => {
  it('in the middle of a piece is gone, after the pieces before it', async () => {
    const { client, member } = await startBroken((socket, headers) => {
      const frames = [pathFrame([]), head(PIECE_BYTES), blob.bytes, head(PIECE_BYTES), blob.bytes.subarray(0, 1000)];
      socket.write(Buffer.concat([Buffer.from(streamHead(headers)), ...frames.map(chunk)]), () => socket.destroy());
    });
    const parent = { ...member, role: 'writer' } as const;
    const { events } = await client.open(parent, blob.digest, { offset: 0, signal });
    const got: PeerEvent[] = [];
    const reading = (async () => {
      for await (const event of events) {
        if (event.type === 'piece') expect(Buffer.from(event.piece.bytes).equals(blob.bytes)).toBe(true);
        got.push(event);
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'PEER_GONE' });
    expect(got.length).toBe(1);
    expect([client.connections, client.downloads.length]).toEqual([0, 0]);
  });

  it('before its answer is gone, as one is where nobody listens', async () => {
    const { client, member } = await startBroken((socket) => socket.destroy());
    await expect(client.call(member, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_GONE' });
    for (const address of ['127.0.0.1:1', 'no such address', 'nowhere.invalid:5051']) {
      const nobody = client.call({ ...member, dataAddress: address }, 'claims', 1, soon);
      await expect(nobody).rejects.toMatchObject({ code: 'PEER_GONE' });
    }
  });
});

it('a reader that takes nothing for too long is let go', async () => {
  const large = newBlob(32 * 1024 * 1024);
  const { parent, server } = await startServer({ offers: holding(large), writeTimeoutMs: 200 });
  const client = await startClient();
  const { events } = await client.open(parent, large.digest, { offset: 0, signal });
  await eventually(() => server.uploads.length === 0);
  await expect(readAll(events)).rejects.toMatchObject({ code: 'PEER_GONE' });
});

it('a client that is closed lets go of all, and an agent that stops of its readers', async () => {
  const large = newBlob(32 * 1024 * 1024);
  const { parent, server } = await startServer({ offers: holding(large) });
  const client = await startClient();
  const { events } = await client.open(parent, large.digest, { offset: 0, signal });
  client.close();
  await expect(readAll(events)).rejects.toMatchObject({ code: 'PEER_GONE' });
  await expect(client.open(parent, large.digest, { offset: 0, signal })).rejects.toMatchObject({ code: 'STOPPING' });
  await server.drain(signal);
  const late = await startClient();
  await expect(late.open(parent, large.digest, { offset: 0, signal })).rejects.toMatchObject({ code: 'PEER_BUSY' });
  await server.stop();
  await expect(late.open(parent, large.digest, { offset: 0, signal })).rejects.toMatchObject({ code: 'PEER_GONE' });
});
