import { randomBytes } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { encodeProofs, Membership, PROOF_HEADER } from '../../../src/peer/membership.ts';
import { tlsOptions } from '../../../src/peer/tls-options.ts';
import type { Identity } from '../../../src/routing/identity.ts';
import type { CallHandler } from '../../../src/routing/peer-calls.ts';
import { eventually } from '../../support/eventually.ts';
import { selfSigned } from '../../support/fake-registry/self-signed.ts';
import { startFakePeer } from './fake-peer.ts';
import {
  memberAt,
  newIdentity,
  SECRET,
  type StartedServer,
  scratchOfTest,
  secretsOf,
  soon,
  startClient,
  startServer,
} from './peer-fixture.ts';
import { startRecorder } from './recorder.ts';

/** All that the server says to these bytes, until it ends the connection. */
async function talk(address: string, tls: ConnectionOptions | undefined, text: string): Promise<string> {
  const [host = '', port] = address.split(':');
  const where = { host, port: Number(port) };
  const socket = tls === undefined ? connectTcp(where) : connect({ ...where, rejectUnauthorized: false, ...tls });
  (await scratchOfTest()).defer(() => socket.destroy());
  let said = '';
  socket.on('data', (bytes: Buffer) => {
    said += bytes.toString('latin1');
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()).on('error', () => {}));
  socket.write(text);
  await closed;
  return said;
}

const request = (headers: Record<string, string> = {}, target = 'POST /windlass/v1/claims', body = '{}') =>
  `${target} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n${body}`;

const NOTHING_SAID = 'HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

async function refusals({ metrics }: StartedServer): Promise<number> {
  const { values } = await metrics.peerRefused.get();
  return values.find(({ labels }) => labels.plane === 'data' && labels.reason === 'stranger')?.value ?? 0;
}

/** A server whose handlers and offers are not to be reached. */
async function startGuarded(encryption: 'tls' | 'none' = 'tls', secret = SECRET) {
  let reached = 0;
  const handler: CallHandler = async () => {
    reached += 1;
  };
  const started = await startServer({
    encryption,
    secrets: await secretsOf(secret),
    handlers: { claims: handler, index: handler, roster: handler, purge: handler },
    offers: {
      offer: async () => {
        reached += 1;
        return undefined;
      },
    },
  });
  return { ...started, reached: () => reached };
}

/** One after the other. @returns which of them were closed so far. */
async function sixSilent(address: string): Promise<readonly number[]> {
  const [host = '', port] = address.split(':');
  const scratch = await scratchOfTest();
  const ended: number[] = [];
  for (let i = 0; i < 6; i += 1) {
    const socket = connectTcp({ host, port: Number(port) }).on('error', () => {});
    socket.once('close', () => ended.push(i));
    scratch.defer(() => socket.destroy());
    await new Promise((resolve) => socket.once('connect', resolve));
  }
  return ended;
}

async function proofBy(identity: Identity, verifier: string, secret = SECRET): Promise<Record<string, string>> {
  return { [PROOF_HEADER]: await new Membership(identity.peerId, await secretsOf(secret)).prove(verifier) };
}

describe('over TLS, a stranger', () => {
  it.each(['POST /windlass/v1/claims', 'GET /windlass/v1/hello', 'GET /', 'PUT /windlass/v1/claims'])(
    'without a certificate gets 401 and no more: %s',
    async (target) => {
      const started = await startGuarded();
      expect(await talk(started.server.address, {}, request({}, target))).toBe(NOTHING_SAID);
      expect([await refusals(started), started.reached()]).toEqual([1, 0]);
    },
  );

  it.each([
    'POST /windlass/v1/claims HTTP/1.1\r\n\r\n',
    'POST /windlass/v1/claims HTTP/1.1\r\nhost: x\r\nexpect: 200-ok\r\ncontent-length: 0\r\n\r\n',
    'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  ])('that asks as Node itself would answer gets 401 and no more: %j', async (text) => {
    const started = await startGuarded();
    expect(await talk(started.server.address, tlsOptions(await newIdentity()), text)).toBe(NOTHING_SAID);
    expect([await refusals(started), started.reached()]).toEqual([1, 0]);
  });

  it('with a certificate of another kind of key, and a good proof in another name, is refused', async () => {
    const started = await startGuarded();
    const { cert, key } = await selfSigned(await scratchOfTest(), 'stranger');
    const member = await newIdentity();
    const proof = await proofBy(member, started.identity.peerId);
    expect(await talk(started.server.address, { cert, key }, request(proof))).toBe(NOTHING_SAID);
    expect([await refusals(started), started.reached()]).toEqual([1, 0]);
  });

  it('with an identity, but without a proof, or with nonsense for one, is refused', async () => {
    const started = await startGuarded();
    const tls = tlsOptions(await newIdentity());
    const proofs = ['', ',,,', 'x'.repeat(9000), encodeProofs([randomBytes(32)]), encodeProofs([randomBytes(5)])];
    for (const proof of proofs) {
      expect(await talk(started.server.address, tls, request({ [PROOF_HEADER]: proof }))).toBe(NOTHING_SAID);
    }
    expect(await talk(started.server.address, tls, request())).toBe(NOTHING_SAID);
    expect([await refusals(started), started.reached()]).toEqual([6, 0]);
  });

  it('that sends a member’s proof again under its own identity is refused', async () => {
    const started = await startGuarded();
    const [member, stranger] = [await newIdentity(), await newIdentity()];
    const proof = await proofBy(member, started.identity.peerId);
    expect(await talk(started.server.address, tlsOptions(stranger), request(proof))).toBe(NOTHING_SAID);
    expect([await refusals(started), started.reached()]).toEqual([1, 0]);
    const taken = await talk(started.server.address, tlsOptions(member), request({ ...proof, connection: 'close' }));
    expect(taken).toMatch(/^HTTP\/1\.1 200 /);
    // Known by now, but not believed for that.
    const junk = { [PROOF_HEADER]: encodeProofs([randomBytes(32)]) };
    expect(await talk(started.server.address, tlsOptions(member), request(junk))).toBe(NOTHING_SAID);
  });

  it('that sends a proof which a server gave it back to that server is refused', async () => {
    const started = await startGuarded();
    const stranger = await newIdentity();
    const proof = await proofBy(started.identity, stranger.peerId);
    expect(await talk(started.server.address, tlsOptions(stranger), request(proof))).toBe(NOTHING_SAID);
  });

  it('that speaks no TLS, or no HTTP inside it, learns nothing and is counted', async () => {
    const started = await startGuarded();
    expect(await talk(started.server.address, undefined, request())).not.toContain('HTTP');
    await eventually(async () => (await refusals(started)) === 1);
    expect(await talk(started.server.address, tlsOptions(await newIdentity()), 'junk\r\n\r\n')).toBe('');
    await eventually(async () => (await refusals(started)) === 2);
  });

  it('nor a member asks again and again before it was answered: its connection is closed', async () => {
    let reached = 0;
    const started = await startServer({
      handlers: {
        claims: () => {
          reached += 1;
          return new Promise(() => {});
        },
      },
    });
    const member = await newIdentity();
    const asked = request(await proofBy(member, started.identity.peerId)).repeat(40);
    expect(await talk(started.server.address, tlsOptions(member), asked)).toBe('');
    expect(reached).toBeLessThanOrEqual(2);
  });

  it('cannot keep members out by holding all connections', async () => {
    const { server, member } = await startServer({ maxConnections: 3 });
    const ended = await sixSilent(server.address);
    await eventually(() => ended.length >= 3);
    const client = await startClient();
    expect(await client.call(member, 'claims', 1, soon)).toMatchObject({ body: 1 });
  });

  it('in their handshakes do not keep each other out while members have connections that they do not use', async () => {
    const { server, member } = await startServer({ maxConnections: 48 });
    const members = await Promise.all(Array.from({ length: 48 }, () => startClient()));
    for (const one of members) expect(await one.call(member, 'claims', 1, soon)).toMatchObject({ body: 1 });
    const ended = await sixSilent(server.address);
    // One in sixteen of all is theirs.
    await eventually(() => members.filter(({ connections }) => connections === 0).length === 3 && ended.length === 3);
    expect(ended).toEqual([0, 1, 2]);
  });

  it('finds room where all connections are kept by members that do not use them; not where they do', async () => {
    const gate = Promise.withResolvers<void>();
    const { member } = await startServer({
      maxConnections: 3,
      handlers: { index: async () => gate.promise.then(() => 'late') },
    });
    const [idle, busy, other, late] = await Promise.all(Array.from({ length: 4 }, () => startClient()));
    const calls = [1, 2].map(() => busy?.call(member, 'index', 1, soon));
    await eventually(() => busy?.connections === 2);
    expect(await idle?.call(member, 'claims', 1, soon)).toMatchObject({ body: 1 });
    expect(await other?.call(member, 'claims', 2, soon)).toMatchObject({ body: 2 });
    await eventually(() => idle?.connections === 0);
    calls.push(other?.call(member, 'index', 1, soon));
    await eventually(() => other?.connections === 1);
    await expect(late?.call(member, 'claims', 3, { ...soon, timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'PEER_GONE',
    });
    gate.resolve();
    expect(await Promise.all(calls)).toEqual(['late', 'late', 'late']);
  });
});

describe.each(['tls', 'none'] as const)('encryption %s:', (encryption) => {
  it('a client with another secret is refused, and says so', async () => {
    const started = await startGuarded(encryption);
    const client = await startClient({ encryption, secrets: await secretsOf('a secret of another cluster') });
    const denied = { code: 'PEER_DENIED' };
    await expect(client.call(started.member, 'claims', 1, soon)).rejects.toMatchObject(denied);
    await expect(client.call(started.server.address, 'roster', 1, soon)).rejects.toMatchObject(denied);
    const digest = `sha256:${'0'.repeat(64)}` as const;
    const opened = client.open(started.parent, digest as never, { offset: 0, signal: soon.signal });
    await expect(opened).rejects.toMatchObject(denied);
    await eventually(async () => (await refusals(started)) === 3);
    expect(started.reached()).toBe(0);
    expect(client.connections).toBe(0);
  });

  it('secrets rotate: old and new are known on one side or the other', async () => {
    const { member } = await startServer({ encryption, secrets: await secretsOf('the new secret of ours', SECRET) });
    for (const known of [[SECRET], ['the new secret of ours'], [SECRET, 'the new secret of ours']]) {
      const client = await startClient({ encryption, secrets: await secretsOf(...known) });
      expect(await client.call(member, 'claims', known, soon)).toMatchObject({ body: known });
      expect(await client.call(member.dataAddress, 'claims', known, soon)).toMatchObject({ body: known });
    }
    const { member: behind } = await startServer({ encryption });
    const ahead = await startClient({ encryption, secrets: await secretsOf('the new secret of ours', SECRET) });
    expect(await ahead.call(behind, 'claims', 1, soon)).toMatchObject({ body: 1 });
    const past = await startClient({ encryption, secrets: await secretsOf('the new secret of ours') });
    await expect(past.call(behind, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_DENIED' });
  });
});

describe('a client over TLS', () => {
  it('uses nothing of an answer without a proof', async () => {
    const identity = await newIdentity();
    const address = await startFakePeer(identity, await secretsOf('another secret entirely'), (_, response, proof) =>
      response.writeHead(200, { ...proof, 'content-length': 4 }).end('true'),
    );
    const client = await startClient();
    const call = client.call(memberAt(identity.peerId, address), 'claims', 1, soon);
    await expect(call).rejects.toMatchObject({ code: 'PEER_DENIED' });
  });

  it('says nothing to an unknown agent before that has proven to be a member', async () => {
    const asked: string[] = [];
    const address = await startFakePeer(await newIdentity(), await secretsOf('another secret entirely'), (req, res) => {
      asked.push(`${req.method} ${req.url}`);
      res.writeHead(204).end();
    });
    const client = await startClient();
    await expect(client.call(address, 'roster', 'ours', soon)).rejects.toMatchObject({ code: 'PEER_DENIED' });
    expect(asked).toEqual(['GET /windlass/v1/hello']);
  });

  it('takes up its session with the same agent again, which still knows it', async () => {
    const [identity, secrets] = [await newIdentity(), await secretsOf(SECRET)];
    const reused: boolean[] = [];
    const address = await startFakePeer(identity, secrets, (req, res, proof) => {
      reused.push((req.socket as TLSSocket).isSessionReused());
      res.writeHead(200, { ...proof, 'content-length': 4, connection: 'close' }).end('true');
    });
    const client = await startClient();
    const member = memberAt(identity.peerId, address);
    for (let i = 0; i < 3; i += 1) {
      expect(await client.call(member, 'claims', i, soon)).toBe(true);
      await eventually(() => client.connections === 0);
    }
    expect(reused).toEqual([false, true, true]);
  });

  it('does not take a session of one agent to another at the same address', async () => {
    const [one, other] = [await newIdentity(), await newIdentity()];
    const first = await startServer({ identity: one });
    const client = await startClient({ idleMs: 20 });
    await client.call(first.member, 'claims', 1, soon);
    await eventually(() => client.connections === 0);
    const second = await startServer({ identity: other });
    const lie = memberAt(one.peerId, second.server.address);
    await expect(client.call(lie, 'claims', 1, soon)).rejects.toMatchObject({ code: 'PEER_GONE' });
    expect(await client.call(second.member, 'claims', 1, soon)).toMatchObject({ body: 1 });
  });

  it('is known by its certificate when its session is taken up again', async () => {
    const { member } = await startServer();
    const client = await startClient({ idleMs: 20 });
    const answers: unknown[] = [];
    for (let i = 0; i < 3; i += 1) {
      answers.push(await client.call(member, 'claims', 0, soon));
      await eventually(() => client.connections === 0);
    }
    expect(answers[2]).toEqual(answers[0]);
  });
});

describe('without TLS, a stranger', () => {
  const nonce = randomBytes(32).toString('base64url');

  it('gets 401 and no more, whatever it asks first', async () => {
    const started = await startGuarded('none');
    for (const target of ['POST /windlass/v1/claims', 'GET /windlass/v1/proof', 'GET /windlass/v1/challenge']) {
      expect(await talk(started.server.address, undefined, request({}, target))).toBe(NOTHING_SAID);
    }
    expect([await refusals(started), started.reached()]).toEqual([3, 0]);
  });

  it('that was challenged and asks without a proof gets 401, and is counted once', async () => {
    const started = await startGuarded('none');
    const challenge = request({ 'windlass-nonce': nonce }, 'GET /windlass/v1/challenge', '');
    const said = await talk(started.server.address, undefined, challenge + request());
    expect(said).toMatch(/^HTTP\/1\.1 204 No Content\r\nwindlass-nonce: [\w-]{43}\r\n/);
    expect(said.endsWith(NOTHING_SAID)).toBe(true);
    await eventually(async () => (await refusals(started)) === 1);
    expect(started.reached()).toBe(0);
  });

  it('cannot send again what it has seen of a member', async () => {
    const started = await startGuarded('none');
    const client = await startClient({ encryption: 'none' });
    // A network in between that keeps what the member says.
    const recorder = await startRecorder(started.server.address);
    await client.call({ ...started.member, dataAddress: recorder.address }, 'claims', 1, soon);
    expect(started.reached()).toBe(1);
    const requests = recorder.said().split(/(?=GET |POST )/);
    expect(requests.length).toBe(3);
    const again = await startRecorder(started.server.address);
    const [host = '', port] = again.address.split(':');
    const socket = connectTcp({ host, port: Number(port) });
    (await scratchOfTest()).defer(() => socket.destroy());
    let answers = '';
    socket.on('data', (bytes: Buffer) => {
      answers += bytes.toString('latin1');
    });
    // One after the other, as the member did.
    for (const [index, one] of requests.entries()) {
      socket.write(one);
      await eventually(() => socket.destroyed || answers.split('HTTP/1.1').length > index + 1);
    }
    expect(answers.endsWith(NOTHING_SAID)).toBe(true);
    expect(started.reached()).toBe(1);
  });

  it('cannot change a request, or say it twice, on a member’s own connection', async () => {
    const started = await startGuarded('none');
    const client = await startClient({ encryption: 'none' });
    const recorder = await startRecorder(started.server.address, (text) => text.replace('"honest"', '"forged"'));
    const member = { ...started.member, dataAddress: recorder.address };
    await expect(client.call(member, 'claims', 'honest', soon)).rejects.toMatchObject({ code: 'PEER_DENIED' });
    expect(started.reached()).toBe(0);
    const answers = await startRecorder(started.server.address, undefined, (text) => text.replace('null', '1234'));
    const other = { ...started.member, dataAddress: answers.address };
    await expect(client.call(other, 'claims', 'honest', soon)).rejects.toMatchObject({ code: 'PEER_DENIED' });
  });
});
