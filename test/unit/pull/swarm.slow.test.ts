import { blake3 } from '@napi-rs/blake-hash';
import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { PeerEvent } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { eventually } from '../../support/eventually.ts';
import { startedStore as startedDiskStore, temporaryFolder } from '../store/store-fixture.ts';
import { failOnUnhandledRejections, failureOf, forever, MIB, ORIGIN, readAll, settle } from './pull-fixture.ts';
import { type Answer, bytesOf, digestOf, ScriptedBody, ScriptedSource, whole } from './scripted-source.ts';
import {
  blamed,
  type ClusterOptions,
  chain,
  PlainKeeper,
  pullInTurn,
  type SwarmNode,
  startCluster,
  Tap,
  wholePieces,
  writtenBy,
} from './swarm-fixture.ts';

const BYTES = bytesOf(5 * MIB + 77_777);
const DIGEST = digestOf(BYTES);
const KEY = `blob:${DIGEST}`;

failOnUnhandledRejections();

async function start(nodes: number, answer: Answer = whole(BYTES), options: Partial<ClusterOptions> = {}) {
  const source = new ScriptedSource(answer);
  return { ...(await startOn(nodes, source, options)), source };
}

async function startOn(nodes: number, source: ScriptedSource, options: Partial<ClusterOptions> = {}) {
  return { cluster: await startCluster(nodes, source, BYTES, options) };
}

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy[1000] = (copy[1000] ?? 0) ^ 1;
  return copy;
}

describe('one writer, the others read from each other', () => {
  test.each([1, 2, 8])('%i nodes ask at once: one GET upstream, right bytes everywhere', async (nodes) => {
    const { cluster, source } = await start(nodes);
    const got = await Promise.all(cluster.nodes.map((node) => node.pull(DIGEST)));
    for (const bytes of got) expect(bytes.equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
    expect(source.leaked).toBe(0);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === nodes);
    for (const { store } of cluster.nodes) expect(store.stat(DIGEST)?.sizeBytes).toBe(BYTES.length);
  });

  test('a later node reads from one that holds it, with upstream down', async () => {
    const { cluster, source } = await start(3);
    await cluster.node(0).pull(DIGEST);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === 1);
    source.answer = async () => {
      throw new WindlassError('UPSTREAM_UNAVAILABLE', 'down');
    };
    expect((await cluster.node(1).pull(DIGEST)).equals(BYTES)).toBe(true);
    const reader = await cluster.node(2).blobs.open(ORIGIN, DIGEST, { start: 0, end: undefined }, forever);
    await readAll(reader);
    expect(reader.source).toBe('peer');
    expect(source.offsets).toEqual([0]);
  });

  test('bytes are passed on while they arrive, in whole pieces, the last one when the digest holds', async () => {
    const tap = new Tap(BYTES);
    const { cluster } = await startOn(3, tap.source, { keeper: chain() });
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) === 2 * MIB));
    tap.open(BYTES.length - 1);
    await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) === 5 * MIB));
    await settle();
    expect(writtenBy(cluster.node(1))).toBe(5 * MIB);
    expect(cluster.node(1).blobs.running()).toMatchObject([
      { source: 'peer', parents: [cluster.node(0).id], children: 1, readers: 1 },
    ]);
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.sent).toBe(BYTES.length);
  });

  test('the last piece waits for the digest, however the size falls', async () => {
    const even = bytesOf(3 * MIB, 3);
    const tap = new Tap(even, () => flipped(even));
    const cluster = await startCluster(2, tap.source, even);
    const pulls = await pullInTurn(cluster, digestOf(even));
    tap.open(even.length - 1);
    await eventually(() => writtenBy(cluster.node(1)) === even.length - PIECE_BYTES);
    tap.open();
    for (const pull of pulls) expect(await failureOf(pull)).toMatchObject({ code: 'DIGEST_MISMATCH' });
    const received = (await cluster.node(1).metrics.ingestReceivedBytes.get()).values;
    expect(received.find(({ labels }) => labels.source === 'peer')?.value).toBe(even.length - PIECE_BYTES);
  });

  test('nodes with files: one GET, right bytes everywhere', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(4, tap.source, BYTES, {
      storeOf: async () => startedDiskStore(await temporaryFolder()),
    });
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(3.125 * MIB);
    await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) === 3 * MIB));
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([0]);
    for (const { store } of cluster.nodes) await eventually(() => store.stat(DIGEST) !== undefined);
    await cluster.stop();
  });

  test('a small blob comes in the answer', async () => {
    const small = bytesOf(3_000, 7);
    const digest = digestOf(small);
    const { cluster, source } = await start(2, whole(small));
    for (const { descriptors } of cluster.nodes) descriptors.setSize(ORIGIN, digest, small.length);
    await cluster.node(0).pull(digest);
    await eventually(() => cluster.keeper.inline.has(`blob:${digest}`));
    expect((await cluster.node(1).pull(digest)).equals(small)).toBe(true);
    expect(cluster.opened).toEqual([]);
    // A keeper that lies is found out.
    cluster.keeper.inline.set(`blob:${digest}`, { bytes: flipped(bytesOf(3_000, 8)), ageMs: 0 });
    const third = await start(1, whole(small), { keeper: cluster.keeper });
    third.cluster.node(0).descriptors.setSize(ORIGIN, digest, small.length);
    cluster.keeper.holders.clear();
    expect((await third.cluster.node(0).pull(digest)).equals(small)).toBe(true);
    expect(source.offsets).toEqual([0]);
  });

  test('what upstream answered to the writer fails who asks for the same repository', async () => {
    const { cluster, source } = await start(2, async () => {
      throw new WindlassError('NOT_FOUND', 'no such blob');
    });
    expect(await failureOf(cluster.node(0).pull(DIGEST))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failureOf(cluster.node(1).pull(DIGEST))).toMatchObject({ code: 'NOT_FOUND' });
    expect(source.offsets).toEqual([0]);
    expect(cluster.keeper.failures).toHaveLength(1);
  });

  test("a cut is the writer's own to resume, its lease kept", async () => {
    const { cluster, source } = await start(2, ({ offset, signal, index }) => {
      const body = new ScriptedBody(signal).push(BYTES.subarray(offset, index === 0 ? 2.125 * MIB : undefined));
      if (index === 0) body.fail(new WindlassError('UPSTREAM_UNAVAILABLE', 'cut'));
      else body.end();
      return { offset, sizeBytes: BYTES.length, body };
    });
    const pulls = await pullInTurn(cluster, DIGEST);
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0, 2.125 * MIB]);
    expect(cluster.keeper.failures).toEqual([]);
  });
});

describe('somebody dies', () => {
  test.each([10, 50, 90])(
    'the writer at %i per cent: one successor resumes from its prefix, nobody loses a byte',
    async (percent) => {
      const tap = new Tap(BYTES);
      const { cluster } = await startOn(6, tap.source);
      const pulls = await pullInTurn(cluster, DIGEST);
      const at = Math.floor((BYTES.length * percent) / 100);
      tap.open(at);
      await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) === wholePieces(at)));
      await cluster.kill(cluster.node(0));
      await eventually(() => tap.source.offsets.length === 2);
      tap.open();
      const got = await Promise.all(pulls.slice(1));
      for (const bytes of got) expect(bytes.equals(BYTES)).toBe(true);
      expect(tap.source.offsets).toEqual([0, wholePieces(at)]);
      expect(tap.sent).toBe(BYTES.length + at - wholePieces(at));
      expect(await failureOf(pulls[0] ?? Promise.resolve())).toMatchObject({ code: 'STOPPING' });
    },
  );

  test('a relay with children below it: they go on elsewhere, at the same position', async () => {
    const tap = new Tap(BYTES);
    const { cluster } = await startOn(4, tap.source, { keeper: chain() });
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(3.125 * MIB);
    await eventually(() => writtenBy(cluster.node(3)) === 3 * MIB);
    await cluster.kill(cluster.node(1));
    tap.open();
    for (const bytes of await Promise.all(pulls.filter((_, i) => i !== 1))) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.sent).toBe(BYTES.length);
    expect(cluster.opened.filter(({ by }) => by === cluster.node(2).id)).toMatchObject([
      { offset: 0 },
      { offset: 3 * MIB },
    ]);
    expect(cluster.opened.filter(({ by }) => by === cluster.node(3).id)).toHaveLength(1);
    await failureOf(pulls[1] ?? Promise.resolve());
  });

  test('a lease that is lost makes its writer a reader at the same position', async () => {
    const tap = new Tap(BYTES);
    const { cluster } = await startOn(2, tap.source);
    const first = cluster.node(0).pull(DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(cluster.node(0)) === 2.125 * MIB);
    cluster.keeper.revoke(KEY);
    const [writer, reader] = cluster.nodes;
    // Whoever asks first writes.
    const second = reader?.pull(DIGEST);
    await eventually(() => tap.source.offsets.length === 2);
    tap.open();
    expect((await first).equals(BYTES)).toBe(true);
    expect((await second)?.equals(BYTES)).toBe(true);
    expect(tap.source.leaked).toBe(0);
    expect(writer).toBeDefined();
  });
});

describe('somebody lies', () => {
  const liars: [string, (node: SwarmNode) => SwarmNode['lie']][] = [
    ['flips a byte', () => (event) => withBytes(event, flipped)],
    [
      'flips a byte, hashes and signs it itself',
      (node) => (event) => {
        if (event.type !== 'piece') return event;
        const bytes = flipped(event.piece.bytes);
        const hash = blake3(bytes);
        const message = Buffer.concat([Buffer.from(`windlass-piece/2\0${DIGEST}\0${event.piece.index}\0`), hash]);
        const proof = { hash, signer: node.id, signature: node.sign(message) };
        return { type: 'piece', piece: { ...event.piece, bytes, proof } };
      },
    ],
    ['sends short pieces', () => (event) => withBytes(event, (bytes) => bytes.subarray(0, 1000))],
    ['sends long pieces', () => (event) => withBytes(event, (bytes) => Buffer.concat([bytes, bytes]))],
    [
      'claims a proof of another piece',
      () => (event) =>
        event.type === 'piece' ? { type: 'piece', piece: { ...event.piece, index: event.piece.index + 1 } } : event,
    ],
    [
      'names a stranger as signer',
      () => (event) =>
        event.type === 'piece'
          ? { type: 'piece', piece: { ...event.piece, proof: { ...event.piece.proof, signer: 'peer-of-nobody' } } }
          : event,
    ],
  ];

  test.each(liars)('a relay at depth 2 of 4 %s: its child names it, right bytes everywhere', async (_, lieOf) => {
    const tap = new Tap(BYTES);
    const { cluster } = await startOn(4, tap.source, { keeper: chain() });
    const liar = cluster.node(1);
    liar.lie = lieOf(liar);
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([0]);
    expect(await blamed(cluster.node(2))).toEqual({ wrong: 1 });
    for (const i of [0, 1, 3]) expect(await blamed(cluster.node(i))).toEqual({});
    expect(cluster.node(2).swarm.offenders.isLiar(liar.id)).toBe(true);
  });

  test.each([
    ['another length', { sizeBytes: BYTES.length + 1 }],
    ['an end before the end', { sizeBytes: BYTES.length }],
  ])('a holder that tells %s is left, and named', async (_, { sizeBytes }) => {
    const { cluster, source } = await start(2);
    const liar = cluster.node(1);
    cluster.keeper.holders.set(KEY, new Set([liar.id]));
    liar.serve = () => ({ sizeBytes, path: [liar.id], events: noEvents() });
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(await blamed(cluster.node(0))).toEqual({ wrong: 1 });
    expect(source.offsets).toEqual([0]);
  });

  test('a manifest that tells another size than everybody blames no peer', async () => {
    const { cluster, source } = await start(2);
    await cluster.node(1).pull(DIGEST);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === 1);
    cluster.node(0).descriptors.setSize(ORIGIN, DIGEST, BYTES.length - 1);
    expect(await failureOf(cluster.node(0).pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(cluster.node(0).swarm.offenders.isLiar(cluster.node(1).id)).toBe(false);
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0, 0]);
    expect(await blamed(cluster.node(0))).toEqual({});
  });

  test('who holds nothing that it advertises is left, and named; another holder is asked', async () => {
    const { cluster, source } = await start(3);
    await cluster.node(2).pull(DIGEST);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === 1);
    cluster.keeper.holders.set(KEY, new Set([cluster.node(1).id, cluster.node(2).id]));
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(await blamed(cluster.node(0))).toEqual({ missing: 1 });
    expect(source.offsets).toEqual([0]);
  });

  test('who lacked it and has got it again is read from, where nobody else is named', async () => {
    const { cluster, source } = await start(3);
    const [client, forgetful, other] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    await other.pull(DIGEST);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === 1);
    cluster.keeper.holders.set(KEY, new Set([forgetful.id, other.id]));
    await client.pull(DIGEST);
    expect(await blamed(client)).toEqual({ missing: 1 });

    await forgetful.pull(DIGEST);
    await client.store.delete(DIGEST);
    cluster.keeper.holders.set(KEY, new Set([forgetful.id]));
    expect((await client.pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(await blamed(client)).toEqual({ missing: 1 });
    expect(source.offsets).toEqual([0]);
  });

  test.each([
    [
      'accepts and says nothing',
      (node: SwarmNode) => {
        node.serve = () => new Promise(() => {});
      },
    ],
    [
      'never sends a whole piece',
      (node: SwarmNode) => {
        node.serve = () => ({ sizeBytes: BYTES.length, path: [node.id], events: never() });
      },
    ],
  ])('who %s is left', async (_, stall) => {
    const { cluster, source } = await start(2, whole(BYTES), { bounds: { openMs: 30, pieceMs: 30 } });
    cluster.keeper.holders.set(KEY, new Set([cluster.node(1).id]));
    stall(cluster.node(1));
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(await blamed(cluster.node(0))).toEqual({ silent: 1 });
    expect(source.offsets).toEqual([0]);
  });

  test('who says that it is strained, and nothing else, is waited with no longer than one that waits', async () => {
    const bounds = { waitingMs: 300, holderMs: 300 };
    const { cluster, source } = await start(2, whole(BYTES), { bounds });
    const talker = cluster.node(1);
    cluster.keeper.holders.set(KEY, new Set([talker.id]));
    async function* strained(): AsyncGenerator<PeerEvent> {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        yield { type: 'strained' };
      }
    }
    talker.serve = () => ({ sizeBytes: BYTES.length, path: [talker.id], events: strained() });
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(await blamed(cluster.node(0))).toMatchObject({ silent: 1 });
    expect(source.offsets).toEqual([0]);
  });

  test('when nothing in the swarm works the keeper is told so once, and then upstream is asked without leave', async () => {
    const keeper = new PlainKeeper();
    keeper.answer = () => ({
      kind: 'read',
      parents: [keeper.parent('peer-00001', 'relay'), keeper.parent('peer-00000', 'relay')],
      sizeBytes: undefined,
      replaces: undefined,
    });
    const { cluster, source } = await start(2, whole(BYTES), { keeper, bounds: { budgetMs: 100 } });
    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
    const told = keeper.claims.map(({ request }) => request.alone);
    expect(told.length).toBeGreaterThan(1);
    expect(told).toEqual([...told.slice(1).map(() => false), true]);
  });

  test('a writer that vouches for wrong bytes: it is left out, and the blob fetched once more from 0', async () => {
    const { cluster, source } = await start(2);
    const liar = cluster.node(0);
    liar.lie = (event) => {
      if (event.type !== 'piece' || event.piece.index !== 3) return event;
      const bytes = flipped(event.piece.bytes);
      const hash = blake3(bytes);
      const message = Buffer.concat([Buffer.from(`windlass-piece/2\0${DIGEST}\0${event.piece.index}\0`), hash]);
      return {
        type: 'piece',
        piece: { ...event.piece, bytes, proof: { hash, signer: liar.id, signature: liar.sign(message) } },
      };
    };
    const [first, second] = await pullInTurn(cluster, DIGEST);
    expect((await first)?.equals(BYTES)).toBe(true);
    expect(await failureOf(second ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await cluster.node(1).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0, 0]);
    expect(await blamed(cluster.node(1))).toEqual({ wrong: 1 });
    expect(cluster.keeper.failures).toEqual([]);
  });

  test('wrong bytes from upstream: told to the keeper, no peer blamed, and the readers drop what they had', async () => {
    const tap = new Tap(BYTES, (index) => (index === 0 ? flipped(BYTES) : BYTES));
    const { source } = tap;
    const { cluster } = await startOn(3, source);
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open();
    for (const pull of pulls) expect(await failureOf(pull)).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(cluster.keeper.failures).toMatchObject([{ by: cluster.node(0).id, error: { code: 'DIGEST_MISMATCH' } }]);
    for (const node of cluster.nodes) expect(node.store.unfinishedBytes(DIGEST)).toBe(0);
    const got = await Promise.all(cluster.nodes.map((node) => node.pull(DIGEST)));
    for (const bytes of got) expect(bytes.equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0, 0]);
    for (const node of cluster.nodes) expect(await blamed(node)).not.toHaveProperty('wrong');
  });

  test('wrong bytes from upstream: a child that lags is told so, and does not fetch the rest', async () => {
    const tap = new Tap(BYTES, () => flipped(BYTES));
    const { cluster } = await startOn(2, tap.source);
    const [writer, child] = [cluster.node(0), cluster.node(1)];
    const gate = Promise.withResolvers<void>();
    writer.lie = async (event) => {
      if (event.type === 'piece' && event.piece.index > 2) await gate.promise;
      return event;
    };
    const [first, second] = await pullInTurn(cluster, DIGEST);
    tap.open();
    expect(await failureOf(first ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    gate.resolve();
    expect(await failureOf(second ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(tap.source.offsets).toEqual([0]);
    expect(child.store.unfinishedBytes(DIGEST)).toBe(0);
    expect(await blamed(child)).not.toHaveProperty('wrong');
  });
});

function withBytes(event: PeerEvent, change: (bytes: Uint8Array) => Uint8Array): PeerEvent {
  return event.type === 'piece'
    ? { type: 'piece', piece: { ...event.piece, bytes: change(event.piece.bytes) } }
    : event;
}

async function* noEvents(): AsyncGenerator<PeerEvent> {}

async function* never(): AsyncGenerator<PeerEvent> {
  await new Promise(() => {});
}
