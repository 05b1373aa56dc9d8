import { describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';
import type { BlobStore } from '../../../src/store/blob-store.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections, failureOf, forever, MIB, settle } from './pull-fixture.ts';
import { bytesOf, digestOf, ScriptedSource, whole } from './scripted-source.ts';
import { blamed, chain, PlainKeeper, pullInTurn, startCluster, Tap, writtenBy } from './swarm-fixture.ts';

const BYTES = bytesOf(5 * MIB + 77_777);
const DIGEST = digestOf(BYTES);
const KEY = `blob:${DIGEST}`;

failOnUnhandledRejections();

/** As an earlier run left it. */
async function leave(store: BlobStore, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(DIGEST, { sizeBytes: BYTES.length });
  await writer.write([bytes]);
  await writer.cancel({ keep: true });
  await writer.close();
}

describe('readers come and go', () => {
  test('a client that left: its node goes on while children read', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper: chain(), finishLimitBytes: 0 });
    const leaving = new AbortController();
    const first = cluster.node(0).pull(DIGEST);
    await eventually(() => tap.source.offsets.length === 1);
    const second = failureOf(cluster.node(1).pull(DIGEST, leaving.signal));
    await eventually(() => cluster.opened.length === 1);
    const third = cluster.node(2).pull(DIGEST);
    await eventually(() => cluster.node(1).blobs.running()[0]?.children === 1);
    tap.open(1.125 * MIB);
    await eventually(() => writtenBy(cluster.node(2)) === MIB);
    vi.useFakeTimers();
    leaving.abort(new Error('left'));
    expect(await second).toMatchObject({ message: 'left' });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(cluster.node(1).blobs.running()).toMatchObject([{ readers: 0, children: 1 }]);
    vi.useRealTimers();
    tap.open();
    expect((await third).equals(BYTES)).toBe(true);
    expect((await first).equals(BYTES)).toBe(true);
    expect(cluster.opened.filter(({ by }) => by === cluster.node(2).id)).toHaveLength(1);
  });

  test('with neither client nor child left, a reader stops and the writer finishes', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(2, tap.source, BYTES);
    const leaving = new AbortController();
    const pulls = await pullInTurn(cluster, DIGEST, leaving.signal);
    tap.open(1.125 * MIB);
    await eventually(() => writtenBy(cluster.node(1)) === MIB);
    vi.useFakeTimers();
    leaving.abort(new Error('left'));
    for (const pull of pulls) expect(await failureOf(pull)).toMatchObject({ message: 'left' });
    await vi.advanceTimersByTimeAsync(4_000);
    vi.useRealTimers();
    await eventually(() => cluster.node(1).blobs.running().length === 0);
    expect(cluster.node(1).store.unfinishedBytes(DIGEST)).toBe(MIB);
    tap.open();
    await eventually(() => cluster.node(0).store.stat(DIGEST) !== undefined);
    expect(cluster.keeper.seats.get(KEY)?.size).toBe(0);
    expect(tap.source.leaked).toBe(0);
  });

  test('what is committed between the claim and the stream is read from the store', async () => {
    const gate = Promise.withResolvers<void>();
    const tap = new Tap(BYTES);
    const cluster = await startCluster(2, tap.source, BYTES);
    cluster.node(0).gate = gate.promise;
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open();
    await pulls[0];
    await eventually(() => cluster.node(0).blobs.running().length === 0);
    gate.resolve();
    expect((await pulls[1])?.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([0]);
    expect(await blamed(cluster.node(1))).toEqual({});
  });

  test('a slow first byte: the others wait with the writer, and nobody asks upstream as well', async () => {
    vi.useFakeTimers();
    const gate = Promise.withResolvers<void>();
    const source = new ScriptedSource(async (opening) => {
      await gate.promise;
      return whole(BYTES)(opening);
    });
    const cluster = await startCluster(8, source, BYTES);
    const pulls = cluster.nodes.map((node) => node.pull(DIGEST));
    await vi.advanceTimersByTimeAsync(20_000);
    expect(source.offsets).toEqual([0]);
    const claims = cluster.keeper.claims.length;
    expect(claims).toBe(8);
    gate.resolve();
    await vi.advanceTimersByTimeAsync(1_000);
    vi.useRealTimers();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
    for (const node of cluster.nodes) expect(await blamed(node)).toEqual({});
  });
});

describe('a writer whose upstream froze', () => {
  test('a reader asks the keeper again, and goes on as the rival that it is made', { timeout: 60_000 }, async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper: chain() });
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(cluster.node(2)) === 2 * MIB);
    const { keeper } = cluster;
    const before = keeper.claims.length;
    vi.useFakeTimers();
    await vi.advanceTimersByTimeAsync(9_000);
    expect(keeper.claims.length).toBe(before);
    // As the keeper does when a writer renews without progress.
    keeper.answer = (by) => {
      if (by === cluster.node(1).id && keeper.writer(KEY) === cluster.node(0).id) keeper.revoke(KEY);
      return undefined;
    };
    await vi.advanceTimersByTimeAsync(4_000);
    vi.useRealTimers();
    await eventually(() => tap.source.offsets.length === 2);
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([0, 2 * MIB]);
    expect(tap.source.leaked).toBe(0);
    for (const node of cluster.nodes) expect(await blamed(node)).not.toHaveProperty('wrong');
  });
});

test('a rival that loses its right before a byte came is the reader again that it was', {
  timeout: 60_000,
}, async () => {
  const tap = new Tap(BYTES);
  const { answer } = tap.source;
  tap.source.answer = (opening) => {
    if (opening.index === 0) return answer(opening);
    return new Promise((_, reject) => {
      opening.signal.addEventListener('abort', () => reject(opening.signal.reason), { once: true });
    });
  };
  const cluster = await startCluster(2, tap.source, BYTES);
  const [writer, reader] = [cluster.node(0), cluster.node(1)];
  const pulls = await pullInTurn(cluster, DIGEST);
  tap.open(2.125 * MIB);
  await eventually(() => writtenBy(reader) === 2 * MIB);
  const lost = new AbortController();
  const lease = { lost: lost.signal, progress: () => {}, sent: () => {}, failed: () => {}, left: () => {} };
  cluster.keeper.answer = (by) => (by === reader.id ? { kind: 'write', lease } : undefined);
  vi.useFakeTimers();
  await vi.advanceTimersByTimeAsync(13_000);
  vi.useRealTimers();
  await eventually(() => tap.source.offsets.length === 2);
  lost.abort(new WindlassError('PEER_BUSY', 'another one writes'));
  await settle();
  // Else it would vouch for what it has from others, and its children would not see a cycle.
  expect(reader.blobs.running()[0]?.parents).toEqual([writer.id]);
  tap.open();
  for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
});

describe('a writer that lost its lease', () => {
  test('has all its patience again, though keepers were silent before it got it', async () => {
    const tap = new Tap(BYTES);
    const keeper = new PlainKeeper();
    const cluster = await startCluster(2, tap.source, BYTES, { keeper });
    const alone: boolean[] = [];
    keeper.answer = (by, request) => {
      if (by !== cluster.node(0).id) return undefined;
      alone.push(request.alone === true);
      request.onSilence?.(10_000);
      return undefined;
    };
    const first = cluster.node(0).pull(DIGEST);
    await eventually(() => tap.source.offsets.length === 1);
    keeper.revoke(KEY);
    const second = cluster.node(1).pull(DIGEST);
    tap.open();
    for (const bytes of await Promise.all([first, second])) expect(bytes.equals(BYTES)).toBe(true);
    expect(alone.slice(0, 2)).toEqual([false, false]);
  });

  test.each([
    ['from the beginning', false],
    ['from a later piece on', true],
  ])('tells children to go elsewhere for what only it vouches for, %s', async (_, tookOver) => {
    const tap = new Tap(BYTES);
    const keeper = new PlainKeeper();
    const cluster = await startCluster(4, tap.source, BYTES, { keeper });
    const [once, now, child, before] = [cluster.node(0), cluster.node(1), cluster.node(2), cluster.node(3)];
    if (tookOver) {
      const gone = failureOf(before.pull(DIGEST));
      await eventually(() => tap.source.offsets.length === 1);
      tap.open(1.125 * MIB);
      void gone;
    }
    const first = once.pull(DIGEST);
    if (tookOver) {
      await eventually(() => writtenBy(once) === MIB);
      await cluster.kill(before);
    }
    await eventually(() => keeper.writer(KEY) === once.id);
    const asked = tap.source.offsets.length;
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(once) === 2.125 * MIB);
    const second = now.pull(DIGEST);
    await eventually(() => writtenBy(now) === 2 * MIB);
    keeper.answer = (by, { failed }) => {
      if (by === now.id && failed.some(({ peerId }) => peerId === once.id)) return undefined;
      if (by === once.id) {
        return { kind: 'read', parents: [keeper.parent(now.id, 'writer')], sizeBytes: undefined, replaces: undefined };
      }
      if (by === child.id && failed.length === 0) {
        return { kind: 'read', parents: [keeper.parent(once.id, 'relay')], sizeBytes: undefined, replaces: undefined };
      }
      return undefined;
    };
    keeper.revoke(KEY);
    await eventually(() => tap.source.offsets.length > asked);
    const third = child.pull(DIGEST);
    await eventually(async () => Object.keys(await blamed(child)).length > 0);
    expect(await blamed(child)).toEqual({ full: 1 });
    tap.open();
    for (const bytes of await Promise.all([first, second, third])) expect(bytes.equals(BYTES)).toBe(true);
    for (const node of cluster.nodes) expect(await blamed(node)).not.toHaveProperty('wrong');
  });
});

describe('what was here before', () => {
  test('restarted with 60% while another writes at 10%: goes on from there, by the other', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper: chain() });
    const prefix = Math.floor(BYTES.length * 0.6);
    await leave(cluster.node(1).store, BYTES.subarray(0, prefix));
    const pulls = await pullInTurn(cluster, DIGEST, forever, [cluster.node(0), cluster.node(1)]);
    tap.open(BYTES.length / 10);
    await settle();
    // Nobody vouches for what is here: a child is told to go elsewhere.
    const third = cluster.node(2).pull(DIGEST);
    await eventually(() => cluster.opened.some(({ by, to }) => by === cluster.node(2).id && to === cluster.node(1).id));
    tap.open();
    for (const bytes of await Promise.all([...pulls, third])) expect(bytes.equals(BYTES)).toBe(true);
    expect(cluster.opened.find(({ by }) => by === cluster.node(1).id)?.offset).toBe(prefix);
    expect(await blamed(cluster.node(2))).not.toHaveProperty('wrong');
  });

  test('a poisoned file: dropped at the end, nobody blamed, and fetched from 0', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const cluster = await startCluster(2, source, BYTES);
    await cluster.node(0).pull(DIGEST);
    await eventually(() => cluster.keeper.holders.get(KEY)?.size === 1);
    const poisoned = Buffer.from(BYTES.subarray(0, 2.125 * MIB));
    poisoned[5] = (poisoned[5] ?? 0) ^ 1;
    // Upstream is not blamed either: after two such it would not be asked.
    for (let time = 0; time < 2; time++) {
      await leave(cluster.node(1).store, poisoned);
      expect(await failureOf(cluster.node(1).pull(DIGEST))).toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(cluster.node(1).store.unfinishedBytes(DIGEST)).toBe(0);
    }
    expect((await cluster.node(1).pull(DIGEST)).equals(BYTES)).toBe(true);
    // What is left is put forward once, by the first claim of all.
    const claims = cluster.keeper.claims.filter(({ by }) => by === cluster.node(1).id);
    expect(claims.map(({ request }) => request.resumes === true)).toEqual(claims.map((_, nth) => nth === 0));
    expect(claims.length).toBeGreaterThanOrEqual(3);
    expect(source.offsets).toEqual([0]);
    expect(await blamed(cluster.node(1))).toEqual({});
  });

  test('a poisoned end of a file is not passed on with the proof of the right one', async () => {
    const tap = new Tap(BYTES);
    const keeper = chain();
    const cluster = await startCluster(3, tap.source, BYTES, { keeper });
    const poisoned = Buffer.from(BYTES.subarray(0, 1.125 * MIB));
    poisoned[MIB + 7] = (poisoned[MIB + 7] ?? 0) ^ 1;
    await leave(cluster.node(1).store, poisoned);
    await leave(cluster.node(2).store, BYTES.subarray(0, MIB));
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open();
    expect((await pulls[0])?.equals(BYTES)).toBe(true);
    expect(await failureOf(pulls[1] ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await pulls[2])?.equals(BYTES)).toBe(true);
    expect(await blamed(cluster.node(2))).not.toHaveProperty('wrong');
  });

  test("a writer's poisoned file: its children drop what they have of it, also who lags; once from 0", async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(2, tap.source, BYTES, { keeper: chain() });
    const poisoned = Buffer.from(BYTES.subarray(0, 4 * MIB));
    poisoned[3 * MIB] = (poisoned[3 * MIB] ?? 0) ^ 1;
    await leave(cluster.node(0).store, poisoned);
    const gate = Promise.withResolvers<void>();
    cluster.node(0).lie = async (event) => {
      // What it has by then is right. It cannot know that.
      if (event.type === 'piece' && event.piece.index === 4) await gate.promise;
      return event;
    };
    const pulls = await pullInTurn(cluster, DIGEST);
    await eventually(() => writtenBy(cluster.node(1)) === 4 * PIECE_BYTES);
    tap.open();
    expect(await failureOf(pulls[0] ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    gate.resolve();
    expect(await failureOf(pulls[1] ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    for (const node of cluster.nodes) expect(node.store.unfinishedBytes(DIGEST)).toBe(0);
    const again = await Promise.all(cluster.nodes.map((node) => node.pull(DIGEST)));
    for (const bytes of again) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([4 * MIB, 0]);
    expect(await blamed(cluster.node(1))).not.toHaveProperty('wrong');
  });

  test('a child that lags keeps what it has where the relay fails by its own file', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper: chain() });
    const poisoned = Buffer.from(BYTES.subarray(0, MIB));
    poisoned[7] = (poisoned[7] ?? 0) ^ 1;
    await leave(cluster.node(1).store, poisoned);
    await leave(cluster.node(2).store, BYTES.subarray(0, MIB));
    const gate = Promise.withResolvers<void>();
    cluster.node(1).lie = async (event) => {
      if (event.type === 'piece' && event.piece.index > 6) await gate.promise;
      return event;
    };
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open();
    expect(await failureOf(pulls[1] ?? Promise.resolve())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    gate.resolve();
    expect((await pulls[2])?.equals(BYTES)).toBe(true);
    const [, again] = cluster.opened.filter(({ by }) => by === cluster.node(2).id);
    expect(again?.offset).toBeGreaterThan(MIB);
    expect(await blamed(cluster.node(2))).not.toHaveProperty('wrong');
  });
});

describe('relays', () => {
  test('a relay without room passes on what it does not keep, within its window', async () => {
    const big = bytesOf(24 * MIB + 5);
    const digest = digestOf(big);
    const cluster = await startCluster(3, new ScriptedSource(whole(big)), big, {
      keeper: chain(),
      storeBytes: (index) => (index === 1 ? 2 * MIB : 1024 * MIB),
    });
    const pulls = await pullInTurn(cluster, digest);
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(big)).toBe(true);
    expect(cluster.node(1).store.stat(digest)).toBeUndefined();
    expect(cluster.node(2).store.stat(digest)).toBeDefined();
    expect(cluster.keeper.holders.get(`blob:${digest}`)?.has(cluster.node(1).id)).toBe(false);
  });

  test("who finds itself in a parent's path leaves it", async () => {
    const keeper = new PlainKeeper();
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper });
    const [a, b] = [cluster.node(1), cluster.node(2)];
    // The keeper has lost its wits: each is to read from the other, once.
    let misled = 0;
    keeper.answer = (by, { failed }) => {
      if (by === cluster.node(0).id || failed.length > 0 || misled === 2) return undefined;
      misled += 1;
      const parent = keeper.parent(by === a.id ? b.id : a.id, 'relay');
      return { kind: 'read', parents: [parent], sizeBytes: undefined, replaces: undefined };
    };
    const first = cluster.node(0).pull(DIGEST);
    await eventually(() => tap.source.offsets.length === 1);
    const pulls = [a.pull(DIGEST), b.pull(DIGEST)];
    await eventually(async () => Object.keys({ ...(await blamed(a)), ...(await blamed(b)) }).length > 0);
    tap.open();
    for (const bytes of await Promise.all([first, ...pulls])) expect(bytes.equals(BYTES)).toBe(true);
    expect({ ...(await blamed(a)), ...(await blamed(b)) }).toHaveProperty('cycle');
    expect(tap.source.offsets).toEqual([0]);
  });

  test('a child whose seat is given to another is moved, and loses nothing', async () => {
    const keeper = new PlainKeeper();
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper });
    const pulls = await pullInTurn(cluster, DIGEST, forever, [cluster.node(0), cluster.node(1)]);
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(cluster.node(1)) === 2 * MIB);
    keeper.answer = (by) =>
      by === cluster.node(2).id
        ? {
            kind: 'read',
            parents: [keeper.parent(cluster.node(0).id, 'writer')],
            sizeBytes: undefined,
            replaces: cluster.node(1).id,
          }
        : undefined;
    const third = cluster.node(2).pull(DIGEST);
    await eventually(() => cluster.opened.filter(({ by }) => by === cluster.node(1).id).length === 2);
    tap.open();
    for (const bytes of await Promise.all([...pulls, third])) expect(bytes.equals(BYTES)).toBe(true);
    expect(cluster.opened.filter(({ by }) => by === cluster.node(1).id)).toMatchObject([
      { offset: 0 },
      { offset: 2 * MIB },
    ]);
    expect(await blamed(cluster.node(1))).toEqual({});
  });

  test('a child whose seat was given away before it came is moved when it comes, once', async () => {
    const cluster = await startCluster(1, new ScriptedSource(whole(BYTES)), BYTES);
    await cluster.node(0).pull(DIGEST);
    const { offers } = cluster.node(0);
    const firstOf = async (to: string, replaces?: string) => {
      const offer = await offers.offer(DIGEST, { offset: 0, to, replaces, signal: forever });
      const events = offer?.events[Symbol.asyncIterator]();
      const { value } = (await events?.next()) ?? {};
      await events?.return?.();
      return value?.type;
    };
    expect(await firstOf('new', 'late')).toBe('piece');
    expect(await firstOf('late')).toBe('moved');
    expect(await firstOf('late')).toBe('piece');
  });

  test('a relay that became the writer signs for itself, and its child believes it', async () => {
    const tap = new Tap(BYTES);
    const cluster = await startCluster(3, tap.source, BYTES, { keeper: chain() });
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => writtenBy(cluster.node(2)) === 2 * MIB);
    await cluster.kill(cluster.node(0));
    tap.open();
    for (const bytes of await Promise.all(pulls.slice(1))) expect(bytes.equals(BYTES)).toBe(true);
    expect(tap.source.offsets).toEqual([0, 2 * MIB]);
    // One stream: it was not left for it.
    expect(cluster.opened.filter(({ by }) => by === cluster.node(2).id)).toHaveLength(1);
    expect(await blamed(cluster.node(2))).toEqual({});
    await failureOf(pulls[0] ?? Promise.resolve());
  });

  test('a writer that gives half of what it gets is complained of', async () => {
    const big = bytesOf(60 * MIB + 5);
    const digest = digestOf(big);
    const keeper = new PlainKeeper();
    const tap = new Tap(big);
    const cluster = await startCluster(2, tap.source, big, { keeper, bounds: { slowAfterMs: 400 } });
    const [writer, child] = [cluster.node(0), cluster.node(1)];
    const gates: PromiseWithResolvers<void>[] = [];
    writer.lie = async (event) => {
      // One a MiB, of which half as many are opened as come in.
      if (event.type !== 'piece' || (event.piece.index * PIECE_BYTES) % MIB !== 0) return event;
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return event;
    };
    let complained = false;
    keeper.answer = (by, { failed }) => {
      if (by !== child.id) return undefined;
      complained ||= failed.some(({ peerId, why }) => peerId === writer.id && why === 'slow');
      return { kind: 'read', parents: [keeper.parent(writer.id, 'writer')], sizeBytes: undefined, replaces: undefined };
    };
    const pulls = await pullInTurn(cluster, digest);
    for (let i = 0; !complained && i < 58; i++) {
      tap.open((i + 1) * MIB);
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (i % 2 === 1) gates[Math.floor(i / 2)]?.resolve();
    }
    expect(complained).toBe(true);
    writer.lie = undefined;
    for (const gate of gates) gate.resolve();
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(big)).toBe(true);
    expect(tap.sent).toBe(big.length);
  });

  test('a slow parent is left for a better one, opened first, without losing a byte', async () => {
    const big = bytesOf(24 * MIB + 5);
    const digest = digestOf(big);
    const keeper = new PlainKeeper();
    const tap = new Tap(big);
    const cluster = await startCluster(3, tap.source, big, { keeper, bounds: { slowAfterMs: 400 } });
    const slow = cluster.node(1);
    const gates: PromiseWithResolvers<void>[] = [];
    slow.lie = async (event) => {
      // One a MiB, of which half as many are opened as come in.
      if (event.type !== 'piece' || (event.piece.index * PIECE_BYTES) % MIB !== 0) return event;
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return event;
    };
    const writer = cluster.node(0).id;
    keeper.answer = (by, { failed }) => {
      if (by !== cluster.node(2).id) return undefined;
      const better = failed.some(({ why }) => why === 'slow');
      const parent = better ? keeper.parent(writer, 'writer') : keeper.parent(slow.id, 'relay');
      return { kind: 'read', parents: [parent], sizeBytes: undefined, replaces: better ? slow.id : undefined };
    };
    const pulls = await pullInTurn(cluster, digest);
    // Twenty times slower than its own source.
    for (let i = 0; cluster.opened.filter(({ by }) => by === cluster.node(2).id).length < 2; i++) {
      tap.open((i + 1) * 2 * MIB);
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (i % 3 === 2) gates[Math.floor(i / 3)]?.resolve();
      if (i > 100) throw new Error('it stays');
    }
    slow.lie = undefined;
    for (const gate of gates) gate.resolve();
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(big)).toBe(true);
    expect(await blamed(cluster.node(2))).toEqual({ slow: 1 });
    expect(tap.sent).toBe(big.length);
  });

  test('a relay that says that it is strained is left for a better one, and a writer by all but one', async () => {
    const keeper = new PlainKeeper();
    const tap = new Tap(BYTES);
    const cluster = await startCluster(4, tap.source, BYTES, { keeper });
    const [writer, relay, child, other] = [0, 1, 2, 3].map((index) => cluster.node(index));
    const parentOf = new Map([
      [relay?.id, writer?.id],
      [child?.id, relay?.id],
      [other?.id, writer?.id],
    ]);
    const complaints: string[] = [];
    keeper.answer = (by, { failed }) => {
      const parent = parentOf.get(by);
      if (parent === undefined) return undefined;
      const about = failed.find(({ why }) => why === 'strained')?.peerId;
      if (about !== undefined) complaints.push(`${by} of ${about}`);
      const to = about === relay?.id ? (writer?.id ?? '') : parent;
      const role = to === writer?.id ? ('writer' as const) : ('relay' as const);
      return { kind: 'read', parents: [keeper.parent(to, role)], sizeBytes: undefined, replaces: undefined };
    };
    const pulls = await pullInTurn(cluster, DIGEST);
    tap.open(2.125 * MIB);
    await eventually(() => cluster.nodes.slice(1).every((node) => writtenBy(node) === 2 * MIB));
    for (const node of [writer, relay]) if (node !== undefined) node.swarm.strain.look = () => true;
    await eventually(() => complaints.length >= 2);
    // Once: a second time the writer's other child might be the furthest.
    for (const node of [writer, relay]) if (node !== undefined) node.swarm.strain.look = () => false;
    tap.open();
    for (const bytes of await Promise.all(pulls)) expect(bytes.equals(BYTES)).toBe(true);
    // Of the writer's two one is not told, and the other one, for which there is no better, stays.
    expect(complaints.filter((complaint) => complaint.startsWith(child?.id ?? '-'))).toContain(
      `${child?.id} of ${relay?.id}`,
    );
    const ofWriter = new Set(complaints.filter((complaint) => complaint.endsWith(writer?.id ?? '-')));
    expect(ofWriter.size).toBe(1);
    expect(cluster.opened.filter(({ by }) => by === child?.id)).toMatchObject([{ offset: 0 }, { offset: 2 * MIB }]);
    expect(cluster.opened.filter(({ by }) => by === other?.id)).toHaveLength(1);
    expect(tap.sent).toBe(BYTES.length);
  });
});
