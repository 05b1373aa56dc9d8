import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { Claimed, Lease } from '../../../src/pull/claims/claims.ts';
import type { Parent } from '../../../src/pull/claims/messages.ts';
import type { PeerEvent } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections, failureOf, MIB, ORIGIN } from './pull-fixture.ts';
import { bytesOf, digestOf, ScriptedSource, whole } from './scripted-source.ts';
import {
  blamed,
  chain,
  PlainKeeper,
  PullCluster,
  pullInTurn,
  type SwarmNode,
  startCluster,
  Tap,
  writtenBy,
} from './swarm-fixture.ts';

const BYTES = bytesOf(5 * MIB + 77_777);
const DIGEST = digestOf(BYTES);
const PIECES = Math.ceil(BYTES.length / PIECE_BYTES);

failOnUnhandledRejections();

/** A right piece, for which `signer` vouches. */
async function pieceOf(signer: SwarmNode, index: number): Promise<PeerEvent> {
  const bytes = Buffer.from(BYTES.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES));
  const proof = await signer.swarm.proofs.of(DIGEST, index, bytes, { vouch: true });
  if (proof === undefined) throw new Error('no proof');
  return { type: 'piece', piece: { index, bytes, proof, written: BYTES.length } };
}

async function* piecesOf(signer: SwarmNode, from: number, to = PIECES): AsyncGenerator<PeerEvent> {
  for (let index = from; index < to; index += 1) yield await pieceOf(signer, index);
}

/** After its first piece it says that its uplink does not carry what it gets, and goes on. */
function serveStrained(node: SwarmNode): void {
  async function* events(offset: number): AsyncGenerator<PeerEvent> {
    const from = Math.floor(offset / PIECE_BYTES);
    yield* piecesOf(node, from, from + 1);
    yield { type: 'strained' };
    yield* piecesOf(node, from + 1);
  }
  node.serve = (_, offset) => ({ sizeBytes: BYTES.length, path: [node.id], events: events(offset) });
}

/** It says that it waits, for ever. */
async function* waits(written: number): AsyncGenerator<PeerEvent> {
  for (let beyond = 1; ; beyond += 1) {
    await setTimeout(20);
    yield { type: 'waiting', written: written + beyond };
  }
}

function read(keeper: PlainKeeper, node: SwarmNode, role: Parent['role']): Claimed {
  return { kind: 'read', parents: [keeper.parent(node.id, role)], sizeBytes: undefined, replaces: undefined };
}

function leaseOf(lost = new AbortController()): Lease & { readonly ends: string[] } {
  const ends: string[] = [];
  return {
    ends,
    lost: lost.signal,
    progress() {},
    sent() {},
    failed: () => void ends.push('failed'),
    left: () => void ends.push('left'),
  };
}

describe('while another parent is looked for', () => {
  test.each([
    ['UPSTREAM_RATE_LIMITED', { retryAfterMs: 60_000 }],
    ['UPSTREAM_UNAVAILABLE', {}],
    ['NOT_FOUND', {}],
  ] as const)(
    'the right to write is offered, and upstream says %s: what is there is read on',
    async (code, options) => {
      const source = new ScriptedSource(() => {
        throw new WindlassError(code, 'no', options);
      });
      const keeper = new PlainKeeper();
      const cluster = await startCluster(2, source, BYTES, { keeper });
      const [reader, parent] = [cluster.node(0), cluster.node(1)];
      serveStrained(parent);
      const lease = leaseOf();
      keeper.answer = (_, { failed }) =>
        failed.length > 0 ? { kind: 'write', lease } : read(keeper, parent, 'writer');

      expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

      expect(source.offsets).toHaveLength(1);
      expect(cluster.opened).toHaveLength(1);
      // Whoever has upstream may write.
      expect(lease.ends).toHaveLength(1);
    },
  );

  test('the other one only waits: the first is read on, and neither is blamed', async () => {
    const keeper = new PlainKeeper();
    const cluster = await startCluster(3, new ScriptedSource(whole(BYTES)), BYTES, { keeper, bounds: { openMs: 50 } });
    const [reader, parent, other] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    serveStrained(parent);
    other.serve = () => ({ sizeBytes: BYTES.length, path: [parent.id, other.id], events: waits(0) });
    keeper.answer = (_, { failed }) =>
      failed.length > 0 ? read(keeper, other, 'relay') : read(keeper, parent, 'writer');

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(cluster.opened.map(({ to }) => to)).toEqual([parent.id, other.id]);
    expect(await blamed(reader)).toEqual({});
    expect(keeper.claims.flatMap(({ request }) => request.failed.map(({ peerId }) => peerId))).toEqual([parent.id]);
  });

  test('the keeper does not answer: the first is read on', async () => {
    const keeper = new PlainKeeper();
    const cluster = await startCluster(2, new ScriptedSource(whole(BYTES)), BYTES, { keeper, bounds: { openMs: 50 } });
    const [reader, parent] = [cluster.node(0), cluster.node(1)];
    serveStrained(parent);
    keeper.answer = () => read(keeper, parent, 'writer');
    const { claims } = reader.swarm;
    const claim = claims.claim.bind(claims);
    claims.claim = async (request, signal) => {
      if (request.failed.length > 0) await setTimeout(120_000, undefined, { signal, ref: false });
      return claim(request, signal);
    };

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(cluster.opened).toHaveLength(1);
  });
});

describe('when the time to look for another parent is over', () => {
  test('a piece of the other one is being checked: the first is read on', async () => {
    const keeper = new PlainKeeper();
    const cluster = await startCluster(3, new ScriptedSource(whole(BYTES)), BYTES, { keeper, bounds: { openMs: 50 } });
    const [reader, parent, other] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    serveStrained(parent);
    const over = Promise.withResolvers<void>();
    other.serve = (_, offset) => {
      void setTimeout(1_200).then(() => over.resolve());
      const from = Math.floor(offset / PIECE_BYTES);
      return { sizeBytes: BYTES.length, path: [other.id], events: piecesOf(other, from) };
    };
    const { swarm } = reader;
    const knows = swarm.knows.bind(swarm);
    // As where the signer is new, and others are asked for it.
    swarm.knows = async (peerId, by) => {
      if (peerId === other.id) await over.promise;
      return knows(peerId, by);
    };
    keeper.answer = (_, { failed }) =>
      failed.length > 0 ? read(keeper, other, 'writer') : read(keeper, parent, 'writer');

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(cluster.opened.map(({ to }) => to)).toEqual([parent.id, other.id]);
  });

  test('upstream took longer to fail than a silent parent is waited for: the first was not silent', async () => {
    const source = new ScriptedSource(async () => {
      await setTimeout(900);
      throw new WindlassError('UPSTREAM_UNAVAILABLE', 'no');
    });
    const keeper = new PlainKeeper();
    const cluster = await startCluster(2, source, BYTES, { keeper, bounds: { pieceMs: 600 } });
    const [reader, parent] = [cluster.node(0), cluster.node(1)];
    async function* events(): AsyncGenerator<PeerEvent> {
      yield* piecesOf(parent, 0, 1);
      yield { type: 'strained' };
      for (let index = 1; index < PIECES; index += 1) {
        await setTimeout(150);
        yield* piecesOf(parent, index, index + 1);
      }
    }
    parent.serve = () => ({ sizeBytes: BYTES.length, path: [parent.id], events: events() });
    const lease = leaseOf();
    keeper.answer = (_, { failed }) => (failed.length > 0 ? { kind: 'write', lease } : read(keeper, parent, 'writer'));

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(cluster.opened).toHaveLength(1);
    expect(await blamed(reader)).toEqual({});
  });
});

describe('time that is lost', () => {
  test('the right is given and taken back again and again: upstream is asked without leave in the end', async () => {
    const source = new ScriptedSource(async (opening) => {
      await setTimeout(100, undefined, { signal: opening.signal });
      return whole(BYTES)(opening);
    });
    const keeper = new PlainKeeper();
    const cluster = await startCluster(1, source, BYTES, { keeper, bounds: { budgetMs: 1_000 } });
    keeper.answer = () => {
      const lost = new AbortController();
      void setTimeout(30).then(() => lost.abort(new WindlassError('PEER_BUSY', 'another one writes')));
      return { kind: 'write', lease: leaseOf(lost) };
    };

    expect((await cluster.node(0).pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(keeper.claims.filter(({ request }) => request.alone)).toHaveLength(1);
  });

  test('to keepers that were silent: holders that answer at once are asked all the same', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const cluster = await startCluster(5, source, BYTES, { keeper });
    const [reader, ...holders] = cluster.nodes;
    if (reader === undefined) throw new Error('no reader');
    await holders.at(-1)?.pull(DIGEST);
    keeper.answer = (_, { onSilence }) => {
      onSilence?.(7_000);
      return {
        kind: 'read',
        parents: holders.map(({ id }) => keeper.parent(id, 'holder')),
        sizeBytes: undefined,
        replaces: undefined,
      };
    };

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(source.offsets).toEqual([0]);
    expect(await blamed(reader)).toEqual({ missing: 3 });
  });

  test('to a parent that has sent something, and then waits for ever: once', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const bounds = { waitingMs: 300, budgetMs: 200 };
    const cluster = await startCluster(2, source, BYTES, { keeper, bounds });
    const [reader, parent] = [cluster.node(0), cluster.node(1)];
    async function* events(): AsyncGenerator<PeerEvent> {
      yield* piecesOf(parent, 0, 1);
      yield* waits(PIECE_BYTES);
    }
    parent.serve = () => ({ sizeBytes: BYTES.length, path: [parent.id], events: events() });
    keeper.answer = (_, { alone }) => (alone ? { kind: 'write', lease: leaseOf() } : read(keeper, parent, 'writer'));

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(cluster.opened).toHaveLength(1);
    expect(source.offsets).toEqual([PIECE_BYTES]);
  });
});

describe('a parent that the keeper calls a relay, and that vouches itself', () => {
  test('writes without leave, as nobody answered it: its child stays, and asks upstream nothing', async () => {
    const tap = new Tap(BYTES);
    const keeper = chain();
    const cluster = await startCluster(3, tap.source, BYTES, { keeper, bounds: { budgetMs: 300 } });
    const [writer, relay, child] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(child) === 2 * MIB);
    keeper.answer = (by, { failed }) => {
      if (by === relay.id) return read(keeper, writer, 'writer');
      return failed.length === 0 ? read(keeper, relay, 'relay') : undefined;
    };
    await cluster.kill(writer);
    await eventually(() => tap.source.offsets.length === 2);
    tap.open();

    for (const bytes of await Promise.all(pulls.slice(1))) expect(bytes.equals(BYTES)).toBe(true);

    expect(tap.source.offsets).toEqual([0, 2 * MIB]);
    expect(await blamed(child)).toEqual({});
    await failureOf(pulls[0] ?? Promise.resolve());
  });

  test('holds it all by now, of which the keeper has not heard: it is no liar', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const cluster = await startCluster(2, source, BYTES, { keeper });
    const [reader, holder] = [cluster.node(0), cluster.node(1)];
    await holder.pull(DIGEST);
    keeper.answer = () => read(keeper, holder, 'relay');

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(source.offsets).toEqual([0]);
    expect(cluster.opened).toHaveLength(1);
    expect(await blamed(reader)).toEqual({});
  });
});

describe('a liar in between', () => {
  test('says that what others vouched for is wrong: as often as upstream may be it is believed, and then left out', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const cluster = await startCluster(3, source, BYTES, { keeper });
    const [reader, honest, liar] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    async function* lies(): AsyncGenerator<PeerEvent> {
      yield* piecesOf(honest, 0, PIECES - 1);
      throw new WindlassError('PEER_FAILED', 'DIGEST_MISMATCH: what came is wrong');
    }
    liar.serve = () => ({ sizeBytes: BYTES.length, path: [honest.id, liar.id], events: lies() });
    keeper.answer = (_, { failed }) => (failed.length > 0 ? undefined : read(keeper, liar, 'relay'));

    for (let turn = 0; turn < 3; turn += 1) {
      expect(await failureOf(reader.pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect([liar, honest].map(({ id }) => reader.swarm.offenders.isLiar(id))).toEqual([true, false]);
  });

  test('says that there is less, where the size is not known: it is blamed, and not who vouched for what it passed on', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    // No manifest told the size.
    const cluster = await PullCluster.start({
      nodes: 3,
      keeper,
      client: { getBlob: (_, digest, { offset = 0, ...rest }) => source.open(ORIGIN, digest, { offset, ...rest }) },
    });
    const [reader, honest, liar] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    liar.serve = () => ({
      sizeBytes: 4 * PIECE_BYTES,
      path: [honest.id, liar.id],
      events: piecesOf(honest, 0, 4),
    });
    keeper.answer = (_, { failed }) => (failed.length > 0 ? undefined : read(keeper, liar, 'relay'));

    expect(await failureOf(reader.pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect([liar, honest].map(({ id }) => reader.swarm.offenders.isLiar(id))).toEqual([true, false]);
  });

  test('wrote wrong bytes, of whose number the keeper has heard: it is blamed, and not who told that number first', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const cluster = await PullCluster.start({
      nodes: 3,
      keeper,
      client: { getBlob: (_, digest, { offset = 0, ...rest }) => source.open(ORIGIN, digest, { offset, ...rest }) },
    });
    const [reader, liar, honest] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    async function* wrong(): AsyncGenerator<PeerEvent> {
      for (let index = 0; index < PIECES; index += 1) {
        const bytes = Buffer.alloc(Math.min(PIECE_BYTES, BYTES.length - index * PIECE_BYTES), index);
        const proof = await liar.swarm.proofs.of(DIGEST, index, bytes, { vouch: true });
        if (proof === undefined) throw new Error('no proof');
        yield { type: 'piece', piece: { index, bytes, proof, written: BYTES.length } };
      }
    }
    honest.serve = () => ({ sizeBytes: BYTES.length, path: [liar.id, honest.id], events: wrong() });
    keeper.answer = () => ({
      kind: 'read',
      parents: [keeper.parent(honest.id, 'relay')],
      sizeBytes: BYTES.length,
      replaces: undefined,
    });

    expect(await failureOf(reader.pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });

    expect([liar, honest].map(({ id }) => reader.swarm.offenders.isLiar(id))).toEqual([true, false]);
  });

  test('tells a path that nobody could pass on: it is left', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const keeper = new PlainKeeper();
    const cluster = await startCluster(2, source, BYTES, { keeper });
    const [reader, liar] = [cluster.node(0), cluster.node(1)];
    const path = Array.from({ length: 10_000 }, () => liar.id);
    liar.serve = () => ({ sizeBytes: BYTES.length, path, events: piecesOf(liar, 0) });
    keeper.answer = (_, { failed }) => (failed.length > 0 ? undefined : read(keeper, liar, 'writer'));

    expect((await reader.pull(DIGEST)).equals(BYTES)).toBe(true);

    expect(await blamed(reader)).toEqual({ failed: 1 });
    expect(source.offsets).toEqual([0]);
  });
});
