import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MEMBERSHIP_PROTOCOL } from '../../../../src/routing/control/opening.ts';
import { SECRET, startControl, type TestControl } from '../../../support/control-cluster.ts';
import { eventually } from '../../../support/eventually.ts';
import { Scratch } from '../../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const OTHER = 'the secret of another cluster';
const signal = () => AbortSignal.timeout(20_000);

async function dialFails(from: TestControl, to: TestControl): Promise<void> {
  await expect(from.control.dial(to.address, { signal: signal() })).rejects.toThrow();
  expect(to.control.connections).toBe(0);
  expect(from.control.connections).toBe(0);
  expect([...to.hellos, ...from.hellos]).toEqual([]);
}

async function connects(from: TestControl, to: TestControl): Promise<void> {
  expect(await from.control.dial(to.address, { signal: signal() })).toBe(to.identity.peerId);
  await eventually(() => to.control.peers.length === 1 && from.control.peers.length === 1);
  expect(to.control.peers).toEqual([from.identity.peerId]);
  expect(from.control.peers).toEqual([to.identity.peerId]);
}

test('members of one cluster connect, and both learn the signed entry of the other', async () => {
  const [one, other] = [await startControl(scratch), await startControl(scratch)];
  await connects(one, other);
  for (const [here, there] of [
    [one, other],
    [other, one],
  ] as const) {
    expect(here.hellos).toHaveLength(1);
    expect(here.hellos[0]?.from).toBe(there.identity.peerId);
    expect(here.hellos[0]?.entry.entry).toContain(there.name);
    expect(await here.refused('stranger')).toBe(0);
  }
});

test('a dialler with the wrong secret is refused and counted', async () => {
  const member = await startControl(scratch);
  const stranger = await startControl(scratch, { secrets: [OTHER] });
  await dialFails(stranger, member);
  await eventually(async () => (await member.refused('stranger')) === 1);
  expect(member.logs).toContainEqual(
    expect.objectContaining({ msg: 'connection of another refused', peer: stranger.identity.peerId }),
  );
});

test('who listens with the wrong secret gets nothing from a member that dials it', async () => {
  const member = await startControl(scratch);
  const stranger = await startControl(scratch, { secrets: [OTHER] });
  await dialFails(member, stranger);
});

test('who dials with the wrong secret is told by its own log', async () => {
  const member = await startControl(scratch);
  const stranger = await startControl(scratch, { secrets: [OTHER] });
  stranger.control.setSeeds([member.address]);
  await eventually(() => stranger.logs.some(({ msg }) => String(msg).includes('is it the same cluster secret?')));
});

/** Speaks our protocol up to the proofs, sends `proofs`, and collects what comes inside TLS until it is cut off. */
function impostor(proofs: Uint8Array, received: Buffer[]): ReturnType<typeof tls> {
  return (components) => {
    const inner = tls()(components);
    return {
      protocol: MEMBERSHIP_PROTOCOL,
      secureInbound: () => Promise.reject(new Error('not dialled')),
      async secureOutbound(connection, options) {
        const secured = await inner.secureOutbound(connection, options);
        const closed = new Promise((resolve) => secured.connection.addEventListener('close', resolve));
        secured.connection.addEventListener('message', ({ data }) => received.push(Buffer.from(data.subarray())));
        secured.connection.send(Buffer.alloc(32));
        secured.connection.send(proofs);
        await closed;
        throw new Error('cut off');
      },
    };
  };
}

test.each([
  ['made up', Buffer.concat([Buffer.from([1]), Buffer.alloc(32, 7)])],
  ['too many', Buffer.concat([Buffer.from([255]), Buffer.alloc(255 * 32)])],
  ['none', Buffer.from([0])],
])('a stranger with a certificate of its own and proofs %s learns 32 random bytes, and no proof', async (_, proofs) => {
  const member = await startControl(scratch);
  const received: Buffer[] = [];
  const stranger = await stockNode(impostor(proofs, received));
  await expect(stranger.dial(multiaddr(member.control.multiaddrs[0] ?? ''))).rejects.toThrow();
  expect(Buffer.concat(received)).toHaveLength(32);
  await eventually(async () => (await member.refused('stranger')) === 1);
  expect(member.control.connections).toBe(0);
});

test('a secret that rotates: any one in common lets in, whoever dials, in any order of the files', async () => {
  const old = await startControl(scratch, { secrets: [SECRET] });
  const both = await startControl(scratch, { secrets: [OTHER, SECRET] });
  const turned = await startControl(scratch, { secrets: [SECRET, OTHER] });
  const next = await startControl(scratch, { secrets: [OTHER] });
  await connects(old, both);
  await both.control.stop();
  await eventually(() => old.control.connections === 0);
  const rotated = await startControl(scratch, { secrets: [OTHER, SECRET] });
  await connects(rotated, old);
  await connects(turned, next);
  await expect(next.control.dial(old.address, { signal: signal() })).rejects.toThrow();
});

/** libp2p as it comes. */
async function stockNode(encrypter: ReturnType<typeof tls>) {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter],
    streamMuxers: [yamux()],
    services: { identify: identify({ protocolPrefix: 'windlass' }) },
  });
  scratch.defer(() => node.stop());
  return node;
}

test('plain libp2p is refused in both directions, and identify tells it nothing', async () => {
  const member = await startControl(scratch);
  const stock = await stockNode(tls());
  const told: unknown[] = [];
  stock.addEventListener('peer:identify', ({ detail }) => told.push(detail));
  await expect(stock.dial(multiaddr(member.control.multiaddrs[0] ?? ''))).rejects.toThrow();
  await eventually(async () => (await member.refused('stranger')) === 1);
  const [address] = stock.getMultiaddrs();
  await expect(member.control.dial(String(address), { signal: signal() })).rejects.toThrow();
  expect(told).toEqual([]);
  expect(stock.getConnections()).toEqual([]);
  expect(member.control.connections).toBe(0);
});

const OPENING = `\x13/multistream/1.0.0\n\x10${MEMBERSHIP_PROTOCOL}\n`;

test.each<[string, string[], 'stranger' | 'unfinished']>([
  ['is closed at once', [], 'unfinished'],
  ['says the first half of what a member says', [OPENING.slice(0, 30)], 'unfinished'],
  ['says as much bit by bit', [OPENING.slice(0, 7), OPENING.slice(7, 20)], 'unfinished'],
  ['says all that a member says before TLS', [OPENING], 'unfinished'],
  ['says that, and no TLS', [OPENING, 'GET / HTTP/1.1\r\n\r\n'], 'unfinished'],
  ['speaks another protocol', ['GET / HTTP/1.1\r\n\r\n'], 'stranger'],
  ['asks libp2p for another one', ['\x13/multistream/1.0.0\n\x04na\n'], 'stranger'],
  ['does so bit by bit', ['\x13/multistream/1.0.0\n', '\x0b/tls/1.0.0\n'], 'stranger'],
])('a connection that %s harms nobody, and is counted: %j is %s', async (_, parts, reason) => {
  const member = await startControl(scratch);
  const socket = connect(Number(member.address.split(':')[1]), '127.0.0.1');
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  for (const part of parts) {
    socket.write(part, 'latin1');
    await sleep(50);
  }
  socket.end();
  await eventually(async () => (await member.refused(reason)) === 1);
  socket.destroy();
  expect((await member.refused('stranger')) + (await member.refused('unfinished'))).toBe(1);
  await connects(await startControl(scratch), member);
});

test('an agent that dials its own address finds itself out, and counts no stranger', async () => {
  const member = await startControl(scratch);
  await expect(member.control.dial(member.address, { signal: signal() })).rejects.toThrow();
  expect(member.control.connections).toBe(0);
  expect(await member.refused('stranger')).toBe(0);
});

test('an insecure cluster needs no secret, and a secure one lets its agents not in', async () => {
  const one = await startControl(scratch, { secrets: 'insecure' });
  const other = await startControl(scratch, { secrets: 'insecure' });
  await connects(one, other);
  const secure = await startControl(scratch);
  await expect(one.control.dial(secure.address, { signal: signal() })).rejects.toThrow();
  expect(secure.control.connections).toBe(0);
});
