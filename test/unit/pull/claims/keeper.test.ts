import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  type Claim,
  claimAnswerSchema,
  type Report,
  recallAnswerSchema,
} from '../../../../src/pull/claims/messages.ts';
import { peerIdOf } from '../../../support/claims-network.ts';
import { inWords, KEY, KeeperStage, SOURCE } from './keeper-fixture.ts';

const MIB = 1024 * 1024;

describe('who writes', () => {
  test('the first that asks; the others read, two from each, the shallowest seat first', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e');
    expect(await stage.asks('a')).toBe('write');
    expect(await stage.asks('b')).toBe('read a');
    expect(await stage.asks('c')).toBe('read a');
    expect(await stage.asks('d')).toBe('read b');
    expect(await stage.asks('e')).toBe('read b');
    expect(stage.tree()).toBe('a! b<a c<a d<b e<b');
  });

  test('a claim asked a hundred times is one seat, and the writer has one grant', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    await stage.asks('a');
    const grant = stage.grantOf('a');
    for (let i = 0; i < 100; i += 1) {
      expect(await stage.asks('b')).toBe('read a');
      expect(await stage.asks('a')).toBe('write');
    }
    expect(stage.grantOf('a')).toBe(grant);
    expect(await stage.asks('c')).toBe('read a');
    expect(await stage.asks('d')).toBe('read b');
  });

  test('a child whose connection to the writer broke writes at once; the others come under it; the old one is told', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    const old = stage.grantOf('a');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('write');
    expect(stage.revoked).toEqual(['a']);
    expect(await stage.asks('c', { failing: { a: 'broken' } })).toBe('read b');
    expect(await stage.asks('d')).toBe('read b');
    expect(stage.report('a', 'writing', { grant: old, prefix: 50 * MIB })).toBe('lost');
    expect(await stage.asks('a')).toBe('read d');
    expect(await stage.counted('takeovers', { reason: 'broken' })).toBe(1);
  });

  test('a second complaint, while the first writer may still write, does not make a third one', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.knows = false;
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    const first = stage.grantOf('a');
    await stage.asks('b', { failing: { a: 'broken' } });
    expect(await stage.asks('c', { failing: { a: 'broken' } })).toBe('read b');
    expect(await stage.asks('c', { failing: { a: 'broken', b: 'broken' } })).toBe('wait');
    const waits = stage.claim('c', { failing: { a: 'broken', b: 'broken' }, waitMs: 2_000 });
    expect(stage.report('a', 'writing', { grant: first })).toBe('lost');
    expect(inWords(await waits)).toBe('write');
  });

  test('who reads from another and has an old list of failed peers takes nothing from the writer', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    expect(await stage.asks('d', { failing: { a: 'broken' } })).toBe('read b');
    expect(stage.grantOf('a')).not.toBe('');
  });

  test('two that lost each other do not pass the right to and fro', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    await stage.asks('b');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('write');
    expect(await stage.asks('a')).toBe('read b');
    expect(await stage.asks('a', { failing: { b: 'broken' } })).toBe('write');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('wait');
    await stage.renews('a', 6_000);
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('read a');
  });

  test('a silent writer that renews keeps the right; one that does not loses it after 2.5 s', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    await stage.renews('a', 2_000);
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('read c');
    await stage.pass(2_600);
    expect(await stage.asks('c', { failing: { a: 'silent' } })).toBe('write');
  });

  test('a writer that does not renew, and a silent relay: one writes beside it, and the next ones read from that', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e');
    for (const name of ['a', 'b', 'c', 'd', 'e']) await stage.asks(name);
    expect(stage.tree()).toBe('a! b<a c<a d<b e<b');
    await stage.renews('a', 1_000);
    await stage.pass(2_400);
    expect(await stage.asks('d', { failing: { b: 'silent' } })).toBe('read a');
    await stage.pass(200);
    expect(await stage.asks('e', { failing: { b: 'silent' } })).toBe('write');
    // Never a third.
    expect(await stage.asks('b', { failing: { c: 'silent' } })).toBe('read e');
    expect(await stage.counted('takeovers', { reason: 'silent' })).toBe(1);
    // It was only slow: the first that gets on has the right.
    expect(stage.report('a', 'writing', { prefix: 10 })).toBe('ok');
    expect(stage.revoked).toEqual(['e']);
  });

  test('who comes while a writer is silent, and another writes beside it, reads from the one that is heard', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'e', 'f');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.renews('a', 1_000);
    await stage.pass(2_600);
    expect(await stage.asks('e', { failing: { b: 'silent' } })).toBe('write');
    expect(await stage.asks('f')).toBe('read e');
  });

  test('the first renewal of a writer is waited for longer than the next: silent keepers may be on its way', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'e');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.pass(4_400);
    expect(await stage.asks('e', { failing: { b: 'silent' } })).not.toBe('write');
    await stage.pass(200);
    expect(await stage.asks('e', { failing: { b: 'silent' } })).toBe('write');
  });

  test('but not of one that another keeper named: its readers here have waited already', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'e');
    const grant = { id: 'elsewhere.1.1', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 0, prefix: 7 };
    stage.keeper.copied([{ key: KEY, grant, holders: [], tree: [], failures: [] }], () => true);
    await stage.pass(2_600);
    expect(await stage.asks('e', { failing: { b: 'silent' } })).toBe('write');
  });

  test('whom all have failed reads from the writer itself; it writes beside one that failed it as well', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e');
    for (const name of ['a', 'b', 'c', 'd', 'e']) await stage.asks(name);
    await stage.renews('a', 1_000);
    expect(await stage.asks('d', { failing: { b: 'silent' } })).toBe('read a');
    // The writer has two children.
    expect(await stage.asks('e', { failing: { b: 'silent' } })).toBe('read c');
    expect(await stage.asks('e', { failing: { b: 'silent', c: 'silent' }, alone: true })).toBe('read a');
    const failing = { b: 'silent', c: 'silent', a: 'silent' } as const;
    expect(await stage.asks('e', { failing, alone: true })).toBe('write');
    expect(await stage.asks('d', { failing, alone: true })).toBe('read e');
  });

  test('a writer that does not renew, and a silent relay: who can read from a holder that has not failed it does so', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'h');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    await stage.renews('a', 1_000);
    await stage.pass(2_600);
    stage.index.add(KEY, peerIdOf('h'));
    expect(await stage.asks('d', { failing: { b: 'silent' } })).toBe('read h');
    expect(await stage.asks('d', { failing: { b: 'silent', a: 'silent' }, alone: true })).toBe('read h');
    expect(await stage.asks('d', { failing: { b: 'silent', h: 'silent' } })).toBe('write');
  });

  test('a writer that renews, and was silent for its only child, is tried once more; so is a holder, before upstream', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.pass(1_600);
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('wait');
    stage.report('a', 'writing');
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('read a');
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('wait');
    // That is forgotten when the complaint is.
    expect(await stage.asks('b')).toBe('read a');
    stage.report('a', 'held');
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('read a');
    expect(await stage.asks('b', { failing: { a: 'silent' } })).toBe('write');
  });

  test('whom all have failed reads from a holder that nobody complains of, rather than from the writer', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'h');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    stage.report('h', 'held');
    expect(await stage.asks('d', { failing: { b: 'silent' }, alone: true })).toMatch(/^read h/);
    expect(await stage.asks('d', { failing: { b: 'silent', h: 'silent' }, alone: true })).toBe('read a');
  });

  test('a lease that is not renewed is over after 5 s; what waits is answered then', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a', { inline: true, sizeBytes: 100 });
    await stage.pass(4_500);
    const waits = stage.claim('b', { inline: true, sizeBytes: 100, waitMs: 2_000 });
    await stage.pass(2_000);
    expect(inWords(await waits)).toBe('write');
  });

  test('a new incarnation voids the grant and the seat of the old one', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    const old = stage.grantOf('a');
    stage.restarts('a');
    expect(stage.grantOf('a')).toBe('');
    expect(stage.report('a', 'writing', { grant: old, incarnation: 1 })).toBe('lost');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('write');
    expect(await stage.asks('a')).toBe('read b');
    await expect(stage.claim('a', { incarnation: 1 })).rejects.toThrow('incarnation 1');
  });

  test('a writer that renews without progress gets a rival after 10 s; the first bytes win', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.rates.noteFirstByte('docker.io', 500);
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    await stage.renews('a', 9_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('read a');
    await stage.renews('a', 2_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('write');
    expect(await stage.asks('c')).toBe('read a');
    const slow = stage.grantOf('a');
    expect(stage.report('b', 'writing', { phase: 'writing', prefix: MIB })).toBe('ok');
    expect(stage.revoked).toEqual(['a']);
    expect(stage.report('a', 'writing', { grant: slow, phase: 'writing', prefix: 10 })).toBe('lost');
  });

  test('of a registry that is not known yet, a first byte after 20 s is waited for', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    await stage.renews('a', 29_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('read a');
    await stage.renews('a', 2_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('write');
  });

  test('where a registry is usually slow, the rival comes after five times its usual first byte', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    stage.rates.noteFirstByte('docker.io', 4_000);
    await stage.asks('a');
    await stage.asks('b');
    await stage.renews('a', 19_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('read a');
    await stage.renews('a', 3_000, { phase: 'opening', prefix: 0 });
    expect(await stage.asks('b')).toBe('write');
  });

  test('of two writers that meet, the shorter prefix becomes a reader', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.asks('a');
    stage.report('a', 'writing', { prefix: 10 * MIB });
    expect(stage.report('b', 'writing', { grant: 'elsewhere.1.1', prefix: 5 * MIB })).toBe('lost');
    expect(stage.report('c', 'writing', { grant: 'elsewhere.1.2', prefix: 20 * MIB })).toBe('ok');
    expect(stage.revoked).toEqual(['a']);
    expect(await stage.asks('a')).toBe('read c');
  });

  test('a grant of a keeper that died is adopted by its renewal', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    expect(stage.report('a', 'writing', { grant: 'elsewhere.1.1', prefix: MIB })).toBe('ok');
    expect(await stage.asks('b')).toBe('read a');
  });

  test('the death of a writer, by the roster, lets the next one write', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    stage.dies('a');
    expect(await stage.asks('b')).toBe('write');
    expect(await stage.asks('c')).toBe('read b');
  });

  test('a writer that leaves in order writes on, and is read from, until it says that it is done', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    expect(await stage.asks('a')).toBe('write');
    expect(await stage.asks('b')).toBe('read a');
    stage.leaves('a');
    await stage.renews('a', 3_000, { phase: 'writing', prefix: MIB });
    expect(stage.report('a', 'writing', { prefix: 2 * MIB })).toBe('ok');
    expect(await stage.asks('c')).toBe('read a');
    stage.report('a', 'left');
    expect(await stage.asks('b', { failing: { a: 'failed' } })).toBe('write');
    expect(await stage.asks('c', { failing: { a: 'failed' } })).toBe('read b');
  });

  test('a claim that waits for what a leaving writer brings gets it', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const tag = { key: 'tag:docker.io/library/redis:7', inline: true, maxAgeMs: 0, waitMs: 2_000 };
    expect(await stage.asks('a', tag)).toBe('write');
    const waits = stage.asks('b', tag);
    stage.leaves('a');
    stage.report('a', 'held', { key: tag.key, bytes: Buffer.from('it').toString('base64'), ageMs: 0 });
    expect(await waits).toBe('bytes it');
  });

  test('a writer whose address is not known here yet is nobody to be sent to: who asks waits', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    expect(await stage.asks('x')).toBe('write');
    expect(await stage.asks('a')).toBe('wait');
    const waits = stage.asks('b', { waitMs: 2_000 });
    stage.joins('x');
    stage.report('x', 'writing', { prefix: MIB });
    await stage.pass(1_000);
    expect(await waits).toBe('read x');
    expect(await stage.asks('a')).toBe('read x');
  });

  describe('that is not known for longer', () => {
    async function waitedFor(stage: KeeperStage, name: string, more: Partial<Claim> = {}): Promise<string> {
      for (const ms of [2_000, 1_000]) {
        const asks = stage.asks(name, more);
        await stage.pass(ms);
        await asks;
      }
      const asks = stage.asks(name, more);
      await stage.pass(10);
      return asks;
    }

    test('loses the right to who waits', async () => {
      const stage = new KeeperStage('k', 'a', 'b');
      expect(await stage.asks('x')).toBe('write');
      const old = stage.grantOf('x');
      expect(await waitedFor(stage, 'a')).toBe('write');
      expect(stage.report('x', 'writing', { grant: old, prefix: 3 * MIB })).toBe('lost');
      expect(await stage.asks('b')).toBe('read a');
    });

    test('keeps it where nobody would write in its stead: one that yields, that is as unknown, that upstream refuses', async () => {
      for (const [name, more] of [
        ['a', { yields: true, waitMs: 1, strained: true }],
        ['y', {}],
        ['a', { source: 'quay.io/other' }],
      ] as const) {
        const stage = new KeeperStage('k', 'a', 'b');
        await stage.asks('b', { source: 'quay.io/other' });
        stage.report('b', 'failed', { source: 'quay.io/other', code: 'UPSTREAM_RATE_LIMITED', retryAfterMs: 60_000 });
        expect(await stage.asks('x')).toBe('write');
        expect(await waitedFor(stage, name, more)).not.toBe('write');
        expect(stage.report('x', 'writing', { prefix: MIB })).toBe('ok');
      }
    });
  });

  test('a writer that leaves and says nothing more loses the right with its lease', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    expect(await stage.asks('a')).toBe('write');
    stage.leaves('a');
    await stage.pass(5_500);
    expect(await stage.asks('b')).toBe('write');
  });

  test('what nobody wants any more is forgotten', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    await stage.asks('b');
    stage.report('a', 'held');
    stage.report('b', 'left');
    await stage.pass(3_000);
    expect(stage.keeper.size).toBe(0);
  });
});

describe('who comes with what an earlier ingest left', () => {
  const LEFT = { prefix: 60 * MIB, resumes: true };
  async function writing(prefix = 10 * MIB) {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'r');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    await stage.renews('a', 1_000, { prefix, rate: MIB, output: MIB, phase: 'writing' });
    return stage;
  }

  test('writes beside a writer that has far less, and in its stead as soon as it has got something', async () => {
    const stage = await writing();
    expect(await stage.asks('r', LEFT)).toBe('write');
    expect(stage.report('a', 'writing', { prefix: 12 * MIB, rate: MIB })).toBe('ok');
    expect(stage.report('r', 'writing', { prefix: 60 * MIB, rate: 0, phase: 'opening' })).toBe('ok');
    expect(stage.report('a', 'writing', { prefix: 13 * MIB, rate: MIB })).toBe('ok');
    expect(stage.tree()).toBe('a! b<a c<a r!');
    expect(stage.revoked).toEqual([]);
    const old = stage.grantOf('a');
    expect(stage.report('r', 'writing', { prefix: 61 * MIB, rate: MIB, phase: 'writing' })).toBe('ok');
    expect(stage.revoked).toEqual(['a']);
    expect(stage.report('a', 'writing', { grant: old, prefix: 14 * MIB })).toBe('lost');
    expect(await stage.asks('a', { prefix: 14 * MIB })).toBe('read r');
    expect(stage.tree()).toBe('a<r b<a c<a r!');
    expect(await stage.counted('takeovers', { reason: 'shorter' })).toBe(1);
    expect(await stage.counted('takeovers', { reason: 'stalled' })).toBe(0);
  });

  test('takes nothing from the writer where upstream gives it nothing, or too late', async () => {
    const refused = await writing();
    await refused.asks('r', LEFT);
    refused.report('r', 'failed', { code: 'UPSTREAM_UNAVAILABLE' });
    expect(refused.report('a', 'writing', { prefix: 20 * MIB })).toBe('ok');
    expect(await refused.asks('r', { prefix: 60 * MIB })).toMatch('read');
    const late = await writing();
    await late.asks('r', LEFT);
    const old = late.grantOf('r');
    expect(late.report('a', 'writing', { prefix: 61 * MIB, rate: MIB })).toBe('ok');
    expect(late.report('r', 'writing', { grant: old, prefix: 62 * MIB, phase: 'writing' })).toBe('lost');
    expect(late.tree()).toBe('a! b<a c<a r<');
    expect(await late.counted('takeovers', { reason: 'stalled' })).toBe(0);
  });

  test("that fails is no takeover, and its failure nobody else's", async () => {
    const stage = await writing();
    await stage.asks('r', LEFT);
    stage.report('r', 'failed', { code: 'UPSTREAM_UNAUTHORIZED' });
    expect(await stage.asks('d')).toMatch('read');
    const other = await writing();
    await other.asks('r', LEFT);
    other.report('r', 'left');
    for (const [one, reason] of [
      [stage, 'failed'],
      [other, 'left'],
    ] as const) {
      expect(await one.counted('takeovers', { reason })).toBe(0);
      expect(one.report('a', 'writing', { prefix: 20 * MIB })).toBe('ok');
    }
  });

  test("is in nobody's way where it gets nothing for ten seconds, and the writer stalls", async () => {
    const stage = await writing();
    await stage.asks('r', LEFT);
    for (let seconds = 0; seconds < 11; seconds += 1) {
      await stage.renews('r', 1_000, { prefix: 60 * MIB, rate: 0, phase: 'opening' });
      stage.report('a', 'writing', { prefix: 10 * MIB, rate: 0 });
    }
    expect(await stage.asks('b')).toBe('write');
    expect(stage.revoked).toEqual(['r']);
  });

  test.each([
    ['the writer first', ['a', 'r']],
    ['it first', ['r', 'a']],
  ])('takes nothing from the writer where their keeper changes while it opens: %s', async (_, order) => {
    const stage = new KeeperStage('k', 'a', 'r');
    const answers: Record<string, string> = {};
    for (const name of order) {
      const says = name === 'a' ? { prefix: 10 * MIB, phase: 'writing' } : { prefix: 60 * MIB, phase: 'opening' };
      answers[name] = stage.report(name, 'writing', { ...says, grant: name } as Partial<Report>);
    }
    // Who was adopted as the only one learns it by its next renewal.
    const again = stage.report('r', 'writing', { prefix: 60 * MIB, phase: 'opening', grant: 'r' });
    expect([answers.a, again]).toEqual(['ok', 'lost']);
  });

  test('writes where the writer dies before it has got anything', async () => {
    const stage = await writing();
    await stage.asks('r', LEFT);
    stage.dies('a');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('read r');
    expect(stage.report('r', 'writing', { prefix: 61 * MIB, phase: 'writing' })).toBe('ok');
  });

  test('reads where it has not', async () => {
    for (const more of [{ prefix: 18 * MIB - 1, resumes: true }, { prefix: 60 * MIB }, { ...LEFT, strained: true }]) {
      expect(await (await writing()).asks('r', more)).toMatch('read');
    }
  });

  test('reads where the writer has come as far since it renewed', async () => {
    const stage = await writing();
    stage.report('a', 'writing', { prefix: 20 * MIB, rate: 100 * MIB, output: MIB });
    await stage.pass(500);
    expect(await stage.asks('r', LEFT)).toMatch('read');
    const opening = new KeeperStage('k', 'a', 'r');
    opening.rates.noteRegistry('docker.io', 100 * MIB);
    await opening.asks('a');
    await opening.renews('a', 1_000, { prefix: 0, rate: 0, phase: 'opening' });
    await opening.pass(600);
    expect(await opening.asks('r', LEFT)).toBe('read a');
  });

  test('reads from who holds the whole', async () => {
    const stage = await writing();
    stage.index.add(KEY, peerIdOf('c'));
    expect(await stage.asks('r', LEFT)).toBe('read c');
  });

  test('reads while two may write, or where the writer has it all, or is to be slow itself', async () => {
    const two = await writing();
    two.knows = false;
    await two.asks('b', { failing: { a: 'broken' } });
    expect(await two.asks('r', LEFT)).toBe('read b');
    const whole = await writing();
    whole.report('a', 'writing', { prefix: 20 * MIB, rate: MIB, output: MIB, phase: 'verifying' });
    expect(await whole.asks('r', LEFT)).toMatch('read');
    const slow = await writing();
    await slow.asks('r', { key: `blob:sha256:${'b'.repeat(64)}`, strained: true });
    expect(await slow.asks('r', LEFT)).toMatch('read');
  });

  test.each([
    ['how fast it is is not known', {}, 'read a'],
    ['it may be as far by now', { rate: 100 * MIB }, 'read a'],
    ['it cannot be', { rate: 10 * MIB }, 'write'],
    ['it was opening, a while ago', { rate: 0, ageMs: 4_000 }, 'read a'],
  ])('where another keeper named the writer: %s', async (_, known, answer) => {
    const stage = new KeeperStage('k', 'a', 'r');
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 600, prefix: 0, ...known };
    stage.copies = [{ key: KEY, grant, holders: [], tree: [], failures: [] }];
    expect(await stage.asks('r', LEFT)).toBe(answer);
  });

  test('where a later copy says that the writer is as far by now', async () => {
    const stage = new KeeperStage('k', 'a', 'r');
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 600, prefix: 0, rate: MIB };
    const copy = { key: KEY, grant, holders: [], tree: [], failures: [] };
    stage.keeper.copied([copy], () => true);
    stage.keeper.copied([{ ...copy, grant: { ...grant, ageMs: 0, prefix: 55 * MIB } }], () => true);
    expect(await stage.asks('r', LEFT)).toBe('read a');
  });
});

describe('upstream refuses', () => {
  test('a 404 is remembered for its source alone: others with it are told, one with another source writes', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.asks('a', { inline: true, sizeBytes: 10 });
    const waits = stage.claim('b', { inline: true, sizeBytes: 10, source: 'quay.io/other/redis', waitMs: 2_000 });
    stage.report('a', 'failed', { code: 'NOT_FOUND', upstreamStatus: 404 });
    expect(inWords(await waits)).toBe('write');
    expect(await stage.asks('c')).toBe('failed NOT_FOUND');
    expect(await stage.asks('c', { source: 'quay.io/other/redis' })).toBe('read b');
    stage.report('b', 'left');
    await stage.pass(5_001);
    expect(await stage.asks('c')).toBe('write');
  });

  test('a 429 stands for as long as upstream asks to be left alone', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    stage.report('a', 'failed', { code: 'UPSTREAM_RATE_LIMITED', upstreamStatus: 429, retryAfterMs: 60_000 });
    await stage.pass(59_000);
    expect(await stage.asks('b')).toBe('failed UPSTREAM_RATE_LIMITED');
    await stage.pass(1_001);
    expect(await stage.asks('b')).toBe('write');
  });

  test('wrong bytes: one more try by another node, then failed for 30 s for all', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.asks('a');
    stage.report('a', 'failed', { code: 'DIGEST_MISMATCH' });
    expect(await stage.asks('a')).toBe('failed DIGEST_MISMATCH');
    expect(await stage.asks('b')).toBe('write');
    stage.report('b', 'failed', { code: 'DIGEST_MISMATCH' });
    await stage.pass(29_000);
    expect(await stage.asks('c')).toBe('failed DIGEST_MISMATCH');
    await stage.pass(1_001);
    expect(await stage.asks('c')).toBe('write');
  });

  test('who never had the right cannot say what upstream says', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    stage.report('a', 'failed', { code: 'NOT_FOUND' });
    expect(await stage.asks('b')).toBe('write');
  });

  test('holders are read from while upstream is down, but not by who was refused', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'h');
    await stage.asks('a');
    stage.report('a', 'failed', { code: 'UPSTREAM_UNAUTHORIZED' });
    stage.index.add(KEY, peerIdOf('h'));
    expect(await stage.asks('b')).toBe('failed UPSTREAM_UNAUTHORIZED');
    expect(await stage.asks('b', { source: 'quay.io/other/redis' })).toBe('read h');
  });
});

describe('small blobs and tags', () => {
  const bytes = Buffer.from('small');
  const key = `blob:sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const small = { key, inline: true, sizeBytes: bytes.length };
  const tag = { key: 'tag:docker.io/library/redis:7', inline: true, maxAgeMs: 60_000 };

  test('the writer brings the bytes, and all that wait get them at once', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    expect(await stage.asks('a', small)).toBe('write');
    const waits = ['b', 'c'].map((name) => stage.claim(name, { ...small, waitMs: 2_000 }));
    stage.report('a', 'held', { key, bytes: bytes.toString('base64') });
    expect((await Promise.all(waits)).map(inWords)).toEqual(['bytes small', 'bytes small']);
    expect(await stage.asks('b', small)).toBe('bytes small');
  });

  test('bytes that are not what the key says are not passed on', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a', small);
    stage.report('a', 'held', { key, bytes: Buffer.from('lies').toString('base64') });
    expect(await stage.asks('b', small)).toBe('read a');
  });

  test('a claim held for two seconds is told to ask again while the writer renews', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a', small);
    const waits = stage.claim('b', { ...small, waitMs: 60_000 });
    await stage.renews('a', 2_000, { key });
    expect(inWords(await waits)).toBe('wait');
  });

  test('a tag is answered with its age, and checked again when it is too old', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    expect(await stage.asks('a', tag)).toBe('write');
    stage.report('a', 'held', { key: tag.key, bytes: Buffer.from('{}').toString('base64'), ageMs: 1_000 });
    await stage.pass(30_000);
    const answer = await stage.claim('b', tag);
    expect(answer.kind === 'bytes' && answer.ageMs).toBeCloseTo(31_000);
    await stage.pass(30_000);
    expect(await stage.asks('b', tag)).toBe('write');
  });

  test('a claim that allows no age gets what came while it waited', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a', { ...tag, maxAgeMs: 0 });
    const waits = stage.claim('b', { ...tag, maxAgeMs: 0, waitMs: 2_000 });
    await stage.pass(500);
    stage.report('a', 'held', { key: tag.key, bytes: Buffer.from('{}').toString('base64'), ageMs: 200 });
    expect(inWords(await waits)).toBe('bytes {}');
  });

  test('upstream being down, a tag is what it last was', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    stage.index.setLastKnown(tag.key, { bytes: Buffer.from('old'), ageMs: 5_000 });
    await stage.asks('a', tag);
    stage.report('a', 'failed', { key: tag.key, code: 'UPSTREAM_UNAVAILABLE' });
    const answer = await stage.claim('a', tag);
    expect(answer.kind === 'failed' && Buffer.from(answer.stale?.bytes ?? '', 'base64').toString()).toBe('old');
  });

  test('but not what it was before upstream said that it is no more: at its keeper, and at a deputy', async () => {
    const keeper = new KeeperStage('k', 'a', 'b');
    const deputy = new KeeperStage('d', 'a', 'b');
    const known = { bytes: Buffer.from('old'), ageMs: 5_000 };
    for (const { index } of [keeper, deputy]) index.setLastKnown(tag.key, known);
    await keeper.asks('a', tag);
    keeper.report('a', 'failed', { key: tag.key, code: 'NOT_FOUND' });
    const entry = keeper.keeper.peek(tag.key);
    const copy = entry && keeper.keeper.copy(entry);
    if (copy === undefined) throw new Error('no copy');
    deputy.keeper.copied([copy], () => true);
    for (const stage of [keeper, deputy]) {
      // Who has not heard of it says so again.
      stage.index.setLastKnown(tag.key, { ...known, ageMs: 6_000 });
      await stage.pass(60_000);
      expect(await stage.asks('b', tag)).toBe('write');
      stage.report('b', 'failed', { key: tag.key, code: 'UPSTREAM_UNAVAILABLE' });
      expect(await stage.claim('b', tag)).toMatchObject({ kind: 'failed', code: 'UPSTREAM_UNAVAILABLE' });
      expect(await stage.claim('b', tag)).not.toHaveProperty('stale.bytes');
    }
  });
});

describe('a view that has just changed', () => {
  test('the deputies are asked once before the first grant, and what they know stands', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.copies = [
      {
        key: KEY,
        grant: { id: 'elsewhere.1.1', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 500, prefix: 7 },
        holders: [],
        tree: [
          { peerId: peerIdOf('a'), parent: null },
          { peerId: peerIdOf('b'), parent: peerIdOf('a') },
        ],
        failures: [],
      },
    ];
    expect(await Promise.all([stage.asks('c'), stage.asks('b')])).toEqual(['read a', 'read a']);
    expect(stage.recalled).toEqual([KEY]);
  });

  test('what they know of an earlier life of who asks is void', async () => {
    const stage = new KeeperStage('k', 'a');
    stage.restarts('a');
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 600, prefix: 0, rate: MIB };
    stage.copies = [{ key: KEY, grant, holders: [], tree: [], failures: [] }];
    expect(await stage.asks('a')).toBe('write');
    expect(stage.keeper.grants.map(({ grant: { incarnation } }) => incarnation)).toEqual([2]);
  });

  test('nor does it count where the roster lags behind', async () => {
    const stage = new KeeperStage('k', 'a');
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 600, prefix: 0, rate: MIB };
    stage.copies = [{ key: KEY, grant, holders: [], tree: [], failures: [] }];
    expect(await stage.asks('a', { incarnation: 2 })).toBe('write');
  });

  test('a copied writer that wrote keeps the right beside one that has less, and is not stalled while copies say so', async () => {
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 0, rate: MIB };
    const copy = { key: KEY, holders: [], tree: [], failures: [] };
    const once = new KeeperStage('k', 'a', 'b');
    once.keeper.copied([{ ...copy, grant: { ...grant, phase: 'writing', prefix: 60 * MIB } }], () => true);
    expect(once.report('b', 'writing', { grant: 'y', phase: 'writing', prefix: MIB })).toBe('lost');
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    for (let seconds = 0; seconds <= 12; seconds += 4) {
      stage.keeper.copied(
        [{ ...copy, grant: { ...grant, phase: 'writing', prefix: (60 + seconds) * MIB } }],
        () => true,
      );
      if (seconds < 12) await stage.pass(4_000);
    }
    expect(await stage.asks('c')).toBe('read a');
    expect(stage.report('b', 'writing', { grant: 'y', phase: 'writing', prefix: MIB })).toBe('lost');
    expect(stage.report('a', 'writing', { grant: 'x', phase: 'writing', prefix: 73 * MIB })).toBe('ok');
  });

  test('what they know of an earlier life of another one is void, too', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    stage.restarts('a');
    const grant = { id: 'x', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs: 600, prefix: 0, rate: MIB };
    stage.copies = [{ key: KEY, grant, holders: [], tree: [], failures: [] }];
    expect(await stage.asks('b')).toBe('write');
  });

  test('once it has been so for 30 s nobody is asked', async () => {
    const stage = new KeeperStage('k', 'a');
    await stage.pass(30_001);
    await stage.asks('a');
    expect(stage.recalled).toEqual([]);
  });

  const elsewhere = (ageMs: number) => ({
    key: KEY,
    grant: { id: 'elsewhere.1.1', peerId: peerIdOf('a'), incarnation: 1, source: SOURCE, ageMs, prefix: 7 },
    holders: [],
    tree: [],
    failures: [],
  });

  test.each([
    ['knew of nothing', async () => {}],
    ['knew of a lease that ran out meanwhile', async (stage: KeeperStage) => void (await stage.asks('a'))],
  ])('a keeper that stood still, and %s, asks the deputies once what was renewed there', async (_, before) => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.pass(30_001);
    await before(stage);
    await stage.pass(1_500);
    expect(stage.recalled).toEqual([]);
    stage.standsStill(8_000);
    stage.copies = [elsewhere(500)];
    expect(await stage.asks('b')).toBe('read a');
    expect(await stage.asks('c')).toBe('read a');
    expect(stage.recalled).toEqual([KEY]);
  });

  test('a keeper that stood still lets a right go that its deputies passed on meanwhile', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.pass(30_001);
    await stage.asks('b');
    const old = stage.grantOf('b');
    await stage.pass(1_000);
    stage.standsStill(3_500);
    stage.copies = [elsewhere(300)];
    // Not judged yet: its holder may be this very node, which has not heard of anything either.
    expect(stage.report('b', 'writing', { grant: old, prefix: 0 })).toBe('ok');
    await stage.pass(1_000);
    expect(stage.revoked).toEqual(['b']);
    expect(stage.report('b', 'writing', { grant: old, prefix: MIB })).toBe('lost');
    expect(await stage.asks('c')).toBe('read a');
  });

  test('and keeps one of which they know nothing newer', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.pass(30_001);
    await stage.asks('b');
    const old = stage.grantOf('b');
    await stage.pass(1_000);
    stage.standsStill(3_500);
    stage.copies = [elsewhere(4_900)];
    for (let i = 0; i < 3; i += 1) {
      expect(stage.report('b', 'writing', { grant: old, prefix: i * MIB })).toBe('ok');
      await stage.pass(1_000);
    }
    expect(stage.revoked).toEqual([]);
    expect(await stage.asks('c')).toBe('read b');
    expect(stage.recalled).toEqual([KEY]);
  });

  test('whose right was let go so may still write, until it has heard of it', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.knows = false;
    await stage.pass(30_001);
    await stage.asks('b');
    await stage.pass(1_000);
    stage.standsStill(3_500);
    stage.copies = [elsewhere(300)];
    const old = stage.grantOf('b');
    stage.report('b', 'writing', { grant: old, prefix: 0 });
    await stage.pass(10);
    expect(await stage.asks('c', { failing: { a: 'broken' } })).toBe('wait');
    expect(stage.report('b', 'writing', { grant: old, prefix: 0 })).toBe('lost');
  });

  test('nor does it end what it ended itself, or what is of an earlier life', async () => {
    for (const grant of [
      { id: 'k.1.1', incarnation: 1, peerId: peerIdOf('a') },
      { id: 'elsewhere.1.1', incarnation: 1, peerId: peerIdOf('c') },
    ]) {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      stage.restarts('c');
      await stage.pass(30_001);
      await stage.asks('a');
      grant.id = grant.peerId === peerIdOf('a') ? stage.grantOf('a') : grant.id;
      await stage.asks('b');
      expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('write');
      await stage.pass(1_000);
      stage.standsStill(3_500);
      // A deputy that the first one still renews at.
      stage.copies = [{ ...elsewhere(0), grant: { ...elsewhere(0).grant, ...grant, ageMs: 100 } }];
      expect(stage.report('b', 'writing', { prefix: MIB })).toBe('ok');
      await stage.pass(1_000);
      expect(stage.report('b', 'writing', { prefix: 2 * MIB })).toBe('ok');
      expect(stage.revoked).toEqual(['a']);
    }
  });

  test('renewals count that come while the deputies are asked: a keeper that has no processor forgets no writer', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    await stage.asks('a');
    for (let i = 1; i <= 5; i += 1) {
      stage.standsStill(3_000);
      expect(stage.report('a', 'writing', { prefix: i * MIB })).toBe('ok');
      await stage.pass(1_000);
    }
    expect(await stage.asks('b')).toBe('read a');
  });

  test('a deputy keeps a writer of its own that renews, where a keeper that stood still tells of an older one', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.asks('b');
    await stage.renews('b', 2_000);
    stage.keeper.copied([elsewhere(4_000)], () => true);
    expect(stage.report('b', 'writing', { prefix: MIB })).toBe('ok');
    stage.keeper.copied([elsewhere(100)], () => true);
    expect(await stage.asks('c')).toBe('read a');
  });

  test('a claim that waits is not granted anything by a keeper that stood still before its deputies were asked', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    await stage.asks('a', { sizeBytes: 1_000 });
    await stage.renews('a', 2_000);
    const waits = stage.claim('b', { sizeBytes: 1_000, inline: true, waitMs: 2_000 });
    await stage.pass(10);
    stage.standsStill(6_000);
    stage.copies = [elsewhere(300)];
    await stage.pass(3_000);
    expect(inWords(await waits)).toBe('wait');
    expect(stage.recalled).toEqual([KEY]);
    expect(stage.keeper.grants.map(({ grant: { id } }) => id)).toEqual(['elsewhere.1.1']);
  });

  test.each([
    ['held', 'read a', 'a! b<a'],
    ['left', 'write', 'b!'],
    ['failed', 'failed NOT_FOUND', 'a<'],
  ] as const)(
    'after a standstill that outlasted the lease, a renewal is not heard after `%s` that came behind it',
    async (state, answer, tree) => {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      await stage.pass(30_001);
      await stage.asks('a');
      await stage.renews('a', 3_000, { prefix: MIB });
      const grant = stage.grantOf('a');
      stage.standsStill(6_000);
      await stage.pass(1_000);
      stage.report('a', 'writing', { grant, prefix: 2 * MIB, phase: 'writing' });
      stage.report('a', state, { grant, ...(state === 'failed' ? { code: 'NOT_FOUND' } : {}) });
      await stage.pass(10);
      expect(stage.keeper.grants).toEqual([]);
      expect(await stage.asks('b')).toBe(answer);
      expect(stage.tree()).toBe(tree);
    },
  );

  test('of two copies the one that was renewed last is taken, in whatever order they come', async () => {
    for (const order of [1, -1]) {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      await stage.pass(30_001);
      stage.standsStill(8_000);
      const older = elsewhere(4_900);
      const copies = [{ ...older, grant: { ...older.grant, id: 'older', peerId: peerIdOf('c') } }, elsewhere(200)];
      stage.copies = order === 1 ? copies : copies.reverse();
      expect(await stage.asks('b')).toBe('read a');
      expect(stage.report('a', 'writing', { grant: 'elsewhere.1.1', prefix: MIB })).toBe('ok');
    }
  });

  test('a copy that names a writer whom nobody knows ends nothing', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    await stage.asks('a');
    await stage.renews('a', 2_000);
    stage.standsStill(3_500);
    stage.copies = [{ ...elsewhere(0), grant: { ...elsewhere(0).grant, peerId: 'nobody' } }];
    stage.report('a', 'writing', { prefix: MIB });
    await stage.pass(10);
    expect(stage.revoked).toEqual([]);
    expect(await stage.asks('b')).toBe('read a');
  });

  test('a keeper that stood still copies nothing before it has asked, and then all', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    await stage.asks('a');
    const entry = stage.keeper.peek(KEY);
    if (entry === undefined) throw new Error('no entry');
    stage.standsStill(6_000);
    stage.copies = [{ ...elsewhere(300), grant: { ...elsewhere(300).grant, id: stage.grantOf('a') } }];
    stage.changed.length = 0;
    expect(stage.keeper.copy(entry)).toBeUndefined();
    await stage.pass(10);
    expect(stage.changed).toEqual([{ key: KEY, soon: true }]);
    expect(stage.keeper.copy(entry)?.grant?.ageMs).toBeLessThan(1_000);
  });

  test('a deputy takes a grant again that a copy without it had ended, when its keeper names it again', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const nothing = { key: KEY, holders: [], tree: [], failures: [] };
    stage.keeper.copied([elsewhere(100)], () => true);
    stage.keeper.copied([nothing], () => true);
    expect(stage.keeper.grants).toEqual([]);
    // Not so by one that is no keeper of it, or by a word that is old.
    stage.keeper.copied([elsewhere(100)], () => false);
    stage.keeper.copied([elsewhere(4_000)], () => true);
    expect(stage.keeper.grants).toEqual([]);
    stage.keeper.copied([elsewhere(100)], () => true);
    expect(stage.report('a', 'writing', { grant: 'elsewhere.1.1', prefix: MIB })).toBe('ok');
    expect(await stage.asks('b')).toBe('read a');
  });

  test('nor one that its holder has let go of itself', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    const copy = { ...elsewhere(900), grant: { ...elsewhere(900).grant, id: stage.grantOf('a') } };
    stage.report('a', 'left');
    stage.keeper.copied([copy], () => true);
    expect(stage.keeper.grants).toEqual([]);
  });

  test.each([100, 700, 2_400])(
    'a keeper whose machine was suspended believes others, whose word is %i ms old',
    async (ageMs) => {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      await stage.pass(30_001);
      await stage.asks('b');
      await stage.renews('b', 3_000, { prefix: 50 * MIB, phase: 'writing' });
      await stage.pass(200);
      // By its own clock the grant is 200 ms old.
      stage.suspended(60_000);
      stage.copies = [elsewhere(ageMs)];
      expect(await stage.asks('c')).toBe('read a');
      expect(stage.revoked).toEqual(['b']);
      expect(stage.report('a', 'writing', { grant: 'elsewhere.1.1', prefix: MIB })).toBe('ok');
    },
  );

  test('a writer that is not known here yet, as it has joined a moment ago, is one', async () => {
    const stage = new KeeperStage('k', 'b');
    stage.joins('d');
    stage.copies = [{ ...elsewhere(100), grant: { ...elsewhere(100).grant, peerId: peerIdOf('newcomer') } }];
    expect(await stage.asks('b')).toBe('wait');
  });

  test('what changes while others are asked, and the keeper stands still, is copied then', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const claim = stage.claim('a');
    stage.standsStill(4_000);
    const entry = stage.keeper.peek(KEY);
    if (entry === undefined) throw new Error('no entry');
    expect(stage.keeper.copy(entry)).toBeUndefined();
    await claim;
    expect(stage.changed.length).toBeGreaterThan(0);
    expect(stage.keeper.copy(entry)).toBeDefined();
  });

  test('a keeper that is stopped while it asks gives nothing', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    stage.standsStill(3_000);
    const claim = stage.claim('a');
    stage.keeper.stop();
    expect(inWords(await claim)).toBe('wait');
    expect(stage.keeper.grants).toEqual([]);
  });

  test('reports of a thousand keys after a standstill ask the deputies of some at a time', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    stage.standsStill(3_000);
    for (let i = 0; i < 1_000; i += 1) {
      stage.report('a', 'writing', {
        key: `blob:sha256:${i.toString(16).padStart(64, '0')}`,
        grant: `g${i}`,
        prefix: 0,
      });
    }
    expect(stage.recalled.length).toBeLessThan(100);
  });

  test('one that was late for a second did not stand still; nor did one ten seconds after', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(30_001);
    stage.standsStill(1_000);
    await stage.asks('a');
    await stage.pass(2_000);
    stage.standsStill(8_000);
    await stage.pass(11_500);
    await stage.asks('b', { key: `blob:sha256:${'b'.repeat(64)}` });
    // Of the one that was kept then.
    expect(stage.recalled).toEqual([KEY]);
  });

  test('who has left since it asked is given nothing', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    expect(inWords(await stage.claim('a', {}, AbortSignal.abort()))).toBe('wait');
    expect(stage.keeper.grants).toEqual([]);
    expect(await stage.asks('b')).toBe('write');
  });

  test('deputies hear of renewals, each two seconds at most', async () => {
    const stage = new KeeperStage('k', 'a');
    await stage.asks('a');
    stage.changed.length = 0;
    await stage.renews('a', 6_000, { phase: 'opening', prefix: 0 });
    expect(stage.changed).toEqual(Array.from({ length: 3 }, () => ({ key: KEY, soon: false })));
  });

  test('what a keeper recalls of itself is what another one goes on with', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    const copy = stage.keeper.recall(KEY);
    const deputy = new KeeperStage('d', 'a', 'b', 'c', 'k');
    deputy.keeper.copied(copy === null ? [] : [JSON.parse(JSON.stringify(copy))], () => true);
    expect(deputy.tree()).toBe(stage.tree());
    expect(await deputy.asks('b', { failing: { a: 'broken' } })).toBe('write');
  });

  test.each([
    ['as is told of it', 10 * 365 * 86_400_000],
    ['by a clock that stood at 1970', 56 * 365 * 86_400_000],
  ])('a tag as old %s, or older by now, is told so that others take it', async (_, ageMs) => {
    const key = 'tag:docker.io/library/redis:7';
    const stage = new KeeperStage('k', 'a', 'b');
    stage.index.setLastKnown(key, { bytes: Buffer.from('{}'), ageMs });
    await stage.pass(5_000);
    // One copy that others do not take has all that come with it refused, and its sender left out.
    expect(recallAnswerSchema.safeParse(stage.keeper.recall(key)).success).toBe(true);
    await stage.asks('a', { key });
    stage.report('a', 'failed', { key, code: 'UPSTREAM_UNAVAILABLE', message: 'gone' });
    const answer = claimAnswerSchema.safeParse(await stage.claim('a', { key }));
    expect(answer.data).toMatchObject({ kind: 'failed', stale: { bytes: Buffer.from('{}').toString('base64') } });
    stage.report('b', 'held', { key, bytes: Buffer.from('{}').toString('base64'), ageMs: 10 * 365 * 86_400_000 });
    await stage.pass(5_000);
    expect(recallAnswerSchema.safeParse(stage.keeper.recall(key)).success).toBe(true);
  });

  test('it recalls what a tag named when somebody last asked, though nobody has claimed it here', async () => {
    const key = 'tag:docker.io/library/redis:7';
    const stage = new KeeperStage('k', 'a', 'b');
    // Two years ago: a registry may be gone for good.
    const known = { bytes: Buffer.from('{}'), ageMs: 2 * 365 * 86_400_000 };
    stage.index.setLastKnown(key, known);
    const copy = recallAnswerSchema.parse(JSON.parse(JSON.stringify(stage.keeper.recall(key))));
    const other = new KeeperStage('d', 'a', 'b', 'k');
    other.copies = copy === null ? [] : [copy];
    await other.asks('a', { key });
    expect(other.index.lastKnown(key)).toEqual(known);
    const failed = { code: 'UPSTREAM_UNAVAILABLE', message: 'gone' };
    other.report('a', 'failed', { key, ...failed });
    const answer = await other.claim('a', { key });
    expect(claimAnswerSchema.parse(answer)).toMatchObject({ kind: 'failed', stale: { ageMs: known.ageMs } });
  });

  test('it recalls who holds a blob, though nobody has claimed it here', async () => {
    const stage = new KeeperStage('k', 'a', 'h');
    stage.index.add(KEY, peerIdOf('h'));
    const copy = recallAnswerSchema.parse(JSON.parse(JSON.stringify(stage.keeper.recall(KEY))));
    const other = new KeeperStage('d', 'a', 'h', 'k');
    other.copies = copy === null ? [] : [copy];
    expect(await other.asks('a')).toBe('read h');
    // Of what nobody holds there is nothing to say.
    expect(stage.keeper.recall(`blob:sha256:${'b'.repeat(64)}`)).toBeNull();
  });

  test('nor does a copy bring back a tag that was dropped here', async () => {
    const key = 'tag:docker.io/library/redis:7';
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.pass(10_000);
    const inline = { bytes: Buffer.from('{}').toString('base64'), ageMs: 1_000 };
    stage.keeper.forget(key);
    stage.keeper.copied([{ key, holders: [], tree: [], failures: [], inline }], () => true);
    expect(stage.index.lastKnown(key)).toBeUndefined();
    expect(await stage.asks('a', { key, inline: true, maxAgeMs: 60_000 })).toBe('write');
    await stage.pass(2_000);
    stage.keeper.copied([{ key, holders: [], tree: [], failures: [], inline }], () => true);
    expect(stage.index.lastKnown(key)).toMatchObject({ ageMs: 1_000 });
  });

  test('a copy that was on its way while a holder withdrew does not bring it back', async () => {
    const stage = new KeeperStage('k', 'a', 'h');
    stage.index.add(KEY, peerIdOf('h'));
    await stage.asks('a');
    const copy = stage.keeper.recall(KEY);
    const deputy = new KeeperStage('d', 'a', 'h', 'k');
    deputy.index.remove(KEY, peerIdOf('h'));
    deputy.keeper.copied(copy === null ? [] : [copy], () => true);
    expect(deputy.index.holders(KEY)).toEqual([]);
    expect(await deputy.asks('a')).toBe('write');
  });

  test('a failure that another keeper tells of stands no longer than one of its own could', async () => {
    const stage = new KeeperStage('k', 'a');
    const failure = { source: SOURCE, code: 'NOT_FOUND', message: '', leftMs: 86_400_000 };
    stage.keeper.copied([{ key: KEY, holders: [], tree: [], failures: [failure] }], () => true);
    expect(await stage.asks('a')).toBe('failed NOT_FOUND');
    await stage.pass(601_000);
    expect(await stage.asks('a')).toBe('write');
  });

  test('a tree from the wire that has a cycle is taken without it', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const tree = [
      { peerId: peerIdOf('a'), parent: peerIdOf('b') },
      { peerId: peerIdOf('b'), parent: peerIdOf('a') },
    ];
    stage.keeper.copied([{ key: KEY, holders: [], tree, failures: [] }], () => true);
    expect(stage.tree()).toBe('a<b b<');
  });
});

describe('who reads from whom', () => {
  test('a relay that broke loses its seat, and the claimer gets another, never below itself', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e', 'f');
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await stage.asks(name);
    expect(stage.tree()).toBe('a! b<a c<a d<b e<b f<c');
    expect(await stage.asks('d', { failing: { b: 'broken' } })).toBe('read a');
    expect(stage.tree()).toBe('a! b< c<a d<a e<b f<c');
    expect(await stage.asks('b')).not.toMatch(/read [be]/);
  });

  test('nobody is seated under who has lost its own parent', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    await stage.asks('c', { failing: { a: 'silent' } });
    await stage.asks('d', { failing: { b: 'broken' } });
    expect(stage.tree()).toBe('a! b< c<b d<a');
    await stage.pass(2_001);
    expect(await stage.asks('e')).toBe('read a');
  });

  test('a holder is read from before the tree; its children stay with it; a loaded one comes after a leaf', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e', 'f', 'g');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
    stage.report('b', 'held');
    expect(stage.tree()).toBe('a! b! c<a d<b');
    expect(await stage.asks('e')).toBe('read b');
    expect(await stage.asks('f')).toBe('read a,b');
    expect(await stage.asks('g')).toBe('read d,b');
  });

  test('the holder of the own zone comes first', async () => {
    const stage = new KeeperStage('k', 'a@1', 'b@2', 'c@2');
    stage.index.add(KEY, peerIdOf('a'));
    stage.index.add(KEY, peerIdOf('b'));
    expect(await stage.asks('c')).toBe('read b,a');
  });

  test('a holder that has it no more is forgotten at once, and the next one is in the same answer', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b']) stage.index.add(KEY, peerIdOf(name));
    expect(await stage.asks('c')).toBe('read a,b');
    expect(await stage.asks('c', { failing: { a: 'missing' } })).toBe('read b');
    expect(stage.index.holders(KEY)).toEqual([peerIdOf('b')]);
    expect(await stage.asks('d', { failing: { b: 'missing' } })).toBe('write');
  });

  test('a holder that asks for it holds it no more', async () => {
    const stage = new KeeperStage('k', 'a');
    stage.index.add(KEY, peerIdOf('a'));
    expect(await stage.asks('a')).toBe('write');
    expect(stage.index.holders(KEY)).toEqual([]);
  });

  test('where no holder is known, one that gossip named is; until it was found not to hold it', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.heard.set(KEY.slice('blob:'.length), [peerIdOf('a')]);
    expect(await stage.asks('b')).toBe('read a');
    expect(await stage.asks('b', { failing: { a: 'missing' } })).toBe('write');
    expect(await stage.asks('c')).toBe('read b');
  });

  test('of who writes it, or reads it, gossip says nothing new', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    expect(await stage.asks('a')).toBe('write');
    expect(await stage.asks('b')).toBe('read a');
    stage.heard.set(KEY.slice('blob:'.length), [peerIdOf('a'), peerIdOf('b')]);
    expect(await stage.asks('c')).toBe('read a');
    expect(stage.tree()).toBe('a! b<a c<a');
    expect(stage.index.holders(KEY)).toEqual([]);
    // Else inline answers would be off, and the writer be waited for no longer than a holder.
    expect(stage.keeper.peek(KEY)?.tree.get(peerIdOf('a'))?.root).toBe('writer');
  });

  test('where a holder is known, gossip is not asked', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.heard.set(KEY.slice('blob:'.length), [peerIdOf('a')]);
    stage.index.add(KEY, peerIdOf('b'));
    expect(await stage.asks('c')).toBe('read b');
  });

  test('a full parent gets no more children for two seconds', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b']) await stage.asks(name);
    expect(await stage.asks('c')).toBe('read a');
    expect(await stage.asks('c', { failing: { a: 'full' } })).toBe('read b');
    expect(await stage.asks('d')).toBe('read b');
    await stage.pass(2_001);
    stage.report('d', 'left');
    expect(await stage.asks('d')).toBe('read a');
  });

  test('of many holders that are all full each is asked once; then who asks may write', async () => {
    const holders = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const stage = new KeeperStage('k', 'n', ...holders);
    for (const name of holders) stage.index.add(KEY, peerIdOf(name));
    const said: string[] = [];
    for (let claims = 0; claims < 4 && said.at(-1) !== 'write'; claims += 1) {
      const asked = said.flatMap((answer) => answer.replace('read ', '').split(','));
      said.push(await stage.asks('n', { failing: Object.fromEntries(asked.map((name) => [name, 'full'])) }));
    }
    expect(said).toEqual(['read a,b,c,d', 'read e,f,g,h', 'write']);
  });

  test('a holder that said it is full is not named for 2 s, also where nobody reads from it', async () => {
    const stage = new KeeperStage('k', 'n', 'm', 'a', 'b');
    stage.index.add(KEY, peerIdOf('a'));
    expect(await stage.asks('n')).toBe('read a');
    expect(await stage.asks('n', { failing: { a: 'full' } })).toBe('write');
    await stage.renews('n', 1_000, { prefix: 10 });
    expect(await stage.asks('m')).toBe('read n,a');
    await stage.renews('n', 2_000, { prefix: 20 });
    expect(await stage.asks('b')).toBe('read a');
  });

  test('a claim that is held, and looked at again, does not keep the holders closed that it named', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'm', 'h');
    await stage.asks('a');
    stage.index.add(KEY, peerIdOf('h'));
    expect(await stage.asks('m')).toBe('read h');
    const held = stage.asks('c', { failing: { a: 'failed', m: 'failed', h: 'full' }, waitMs: 1_900 });
    await stage.renews('a', 2_000, { prefix: 10 });
    expect(await held).toBe('wait');
    await stage.pass(100);
    expect(await stage.asks('b')).toBe('read h');
  });

  test('of whom three complain nobody is sent to for 30 s, unless there is nobody else', async () => {
    const stage = new KeeperStage('k', 'h', 'x', 'a', 'b', 'c', 'd', 'e');
    stage.index.add(KEY, peerIdOf('h'));
    for (const name of ['a', 'b', 'c']) {
      await stage.asks(name);
      await stage.asks(name, { failing: { h: 'wrong' } });
      stage.report(name, 'left');
    }
    await stage.pass(10_000);
    expect(await stage.asks('d')).toBe('write');
    stage.report('d', 'failed', { code: 'UPSTREAM_RATE_LIMITED' });
    expect(await stage.asks('e')).toBe('read h');
    stage.report('e', 'left');
    await stage.pass(30_000);
    expect(await stage.asks('e')).toBe('read h');
  });

  test('the first of a zone imports beyond the fan-out; the others stay inside', async () => {
    const stage = new KeeperStage('k@1', 'a@1', 'b@1', 'c@1', 'd@2', 'e@2', 'f@2', 'g@2', 'h@3');
    const told = [];
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) told.push(`${name}: ${await stage.asks(name)}`);
    expect(told).toEqual([
      'a: write',
      'b: read a',
      'c: read a',
      'd: read a',
      'e: read d',
      'f: read d',
      'g: read e',
      'h: read b',
    ]);
  });

  test('where all of a zone is below it, a reader imports again', async () => {
    const stage = new KeeperStage('k@1', 'a@1', 'b@1', 'd@2', 'e@2', 'f@2');
    for (const name of ['a', 'b', 'd', 'e', 'f']) await stage.asks(name);
    expect(stage.tree()).toBe('a! b<a d<a e<d f<d');
    expect(await stage.asks('d', { failing: { a: 'silent' } })).toBe('read b');
  });

  test('who comes late, far behind the writer, goes under a leaf', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b']) await stage.asks(name);
    stage.report('a', 'writing', { prefix: 90 * MIB });
    expect(await stage.asks('c')).toBe('read b');
  });
});

describe('slow parents', () => {
  test('the child takes the seat; the parent is seated elsewhere, as a leaf for a minute', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e', 'f');
    for (const name of ['a', 'b', 'c', 'd', 'e']) await stage.asks(name);
    expect(await stage.asks('d', { failing: { b: 'slow' } })).toBe('read a instead of b');
    expect(await stage.asks('d', { failing: { b: 'slow' } })).toBe('read a instead of b');
    expect(await stage.asks('b')).toBe('read c');
    for (const name of ['e', 'f']) expect(await stage.asks(name, { failing: { b: 'slow' } })).not.toBe('read b');
    expect(stage.tree()).not.toContain('<b');
    const other = { key: `blob:sha256:${'b'.repeat(64)}` };
    await stage.asks('b', other);
    expect(await stage.asks('c', other)).toBe('read b');
    expect(await stage.asks('d', other)).toBe('read c');
    await stage.pass(60_001);
    stage.report('b', 'writing', other);
    expect(await stage.asks('e', other)).not.toBe('wait');
  });

  test('a writer is displaced neither by lag nor by one slow second, but by sending less than 0.3 of what it gets', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    for (const name of ['a', 'b', 'c']) await stage.asks(name);
    await stage.renews('a', 4_000, { prefix: MIB, rate: 2_000_000, output: 1_200_000 });
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 20_000_000 })).toMatch('read');
    await stage.renews('a', 2_000, { prefix: 2 * MIB, rate: 2_200_000, output: 400_000, uplink: 800_000 });
    // The same renewal once more, by way of a deputy.
    stage.report('a', 'writing', { prefix: 2 * MIB, rate: 2_200_000, output: 400_000, uplink: 800_000 });
    expect(await stage.asks('c', { failing: { a: 'slow' } })).toMatch('read');
    await stage.renews('a', 1_000, { prefix: 2 * MIB, rate: 2_200_000, output: 400_000, uplink: 800_000 });
    expect(await stage.asks('c', { failing: { a: 'slow' }, uplink: 1_700_000 })).toBe('write');
  });

  test('nor by one that is not known to send twice as much: where all are limited, each would take it from the one before', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.renews('a', 9_000, { prefix: MIB, rate: 2_000_000, output: 400_000, uplink: 800_000 });
    for (const uplink of [undefined, 800_000, 1_600_000]) {
      expect(await stage.asks('b', { failing: { a: 'slow' }, uplink })).toBe('read a');
    }
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 1_700_000 })).toBe('write');
  });

  test('nor by what it did not send while nobody read from it', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    const renewed = { prefix: MIB, rate: 2_000_000, output: 0, uplink: 800_000 };
    await stage.renews('a', 9_000, renewed);
    await stage.asks('b');
    await stage.renews('a', 3_000, renewed);
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 20_000_000 })).toBe('read a');
    await stage.renews('a', 1_000, renewed);
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 20_000_000 })).toBe('write');
  });

  test('nor by one that lacks more than a tenth of the blob of what it has: upstream would give that again', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    for (const name of ['a', 'b']) await stage.asks(name, { sizeBytes: 100 * MIB });
    await stage.renews('a', 9_000, { prefix: 30 * MIB, rate: 2_000_000, output: 400_000, uplink: 800_000 });
    const slow = { failing: { a: 'slow' }, uplink: 20_000_000, sizeBytes: 100 * MIB } as const;
    expect(await stage.asks('b', { ...slow, prefix: 19 * MIB })).toBe('read a');
    expect(await stage.asks('b', { ...slow, prefix: 20 * MIB })).toBe('write');
  });

  test('nor by a trickle, of which a piece takes longer than a second', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.renews('a', 9_000, { rate: 100_000, output: 0 });
    expect(await stage.asks('b', { failing: { a: 'slow' } })).toBe('read a');
  });

  test('nor by sending 0.4 of what it gets, whatever the claimer can: upstream would be asked again', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    for (const name of ['a', 'b']) await stage.asks(name);
    await stage.renews('a', 9_000, { prefix: MIB, rate: 2_000_000, output: 800_000, uplink: 800_000 });
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 20_000_000 })).toBe('read a');
  });

  describe('a writer that sends too little for its two children', () => {
    const renewed = { prefix: MIB, rate: 2_000_000, output: 2_400_000, uplink: 2_500_000 };
    const complaint = { failing: { a: 'slow' }, uplink: 20_000_000 } as const;
    const BEFORE = 'a! b<a c<a d<b e<b';
    const stageOf = async (writer: Partial<Report>, names = ['a', 'b', 'c', 'd', 'e']) => {
      const stage = new KeeperStage('k', ...names, 'f', 'g', 'h');
      for (const name of names) await stage.asks(name.slice(0, 1));
      await stage.renews('a', 1_000, writer);
      return stage;
    };

    test('keeps one of them; the other goes below it with its own, and no other comes for a minute', async () => {
      const stage = await stageOf(renewed);
      expect(stage.tree()).toBe(BEFORE);
      expect(await stage.asks('b', complaint)).toBe('read c');
      expect(await stage.asks('b', complaint)).toBe('read c');
      // The one that is left stays, though it may have complained too, and who comes goes elsewhere.
      expect(await stage.asks('c', complaint)).toBe('read a');
      expect(await stage.asks('f')).toBe('read c');
      expect(stage.tree()).toBe('a! b<c c<a d<b e<b f<c');
      stage.dies('c');
      await stage.pass(60_001);
      stage.report('a', 'writing', renewed);
      expect(await stage.asks('b', { failing: { c: 'broken' } })).toBe('read a');
      expect(await stage.asks('f', { failing: { c: 'broken' } })).toBe('read a');
    });

    test('sends it to the first that has room, where its sibling has none', async () => {
      const stage = await stageOf(renewed);
      for (const name of ['f', 'g']) expect(await stage.asks(name)).toBe('read c');
      expect(await stage.asks('b', complaint)).toBe('read f');
    });

    test.each<[string, Partial<Report>, object]>([
      ['it feeds both', { ...renewed, output: 3_300_000 }, {}],
      ['nobody is known to send more', renewed, { uplink: undefined }],
      ['the claimer has no better link', renewed, { uplink: 4_900_000 }],
      ['it did not say how much it can', { ...renewed, uplink: undefined }, {}],
      ['it said nothing of what it sends', { prefix: MIB, uplink: 2_500_000 }, {}],
      ['the other one has failed the claimer too', renewed, { failing: { a: 'slow', c: 'failed' } }],
      ['the other one has failed the claimer before', renewed, { failing: { c: 'failed', a: 'slow' } }],
    ])('keeps both where %s', async (_name, writer, claim) => {
      const stage = await stageOf(writer);
      expect(await stage.asks('b', { ...complaint, ...claim })).toBe('read a');
      expect(stage.tree()).toBe(BEFORE);
    });

    test('keeps both where one of them imports into another zone', async () => {
      const stage = await stageOf(renewed, ['a@east', 'b@east', 'c@west']);
      expect(await stage.asks('b', complaint)).toBe('read a');
      expect(stage.tree()).toBe('a! b<a c<a');
    });

    test('keeps both where somebody complained of the other one a moment ago', async () => {
      const stage = await stageOf(renewed);
      await stage.asks('d', { key: `blob:sha256:${'b'.repeat(64)}`, failing: { c: 'broken' } });
      expect(await stage.asks('b', complaint)).toBe('read a');
      expect(stage.tree()).toBe(BEFORE);
    });
  });

  describe('who says of itself that its uplink is strained', () => {
    test('as a relay loses its seat to its child', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e');
      for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name);
      expect(stage.tree()).toBe('a! b<a c<a d<b');
      expect(await stage.asks('d', { failing: { b: 'strained' } })).toBe('read a instead of b');
      expect(await stage.asks('b')).toBe('read c');
      expect(await stage.asks('e')).not.toBe('read b');
    });

    test('as a writer keeps one child; the other goes below that one, and its right it keeps', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
      for (const name of ['a', 'b', 'c']) await stage.asks(name);
      expect(await stage.asks('c', { failing: { a: 'strained' } })).toBe('read b');
      expect(await stage.asks('b', { failing: { a: 'strained' } })).toBe('read a');
      expect(await stage.asks('d')).toBe('read b');
      expect(stage.tree()).toBe('a! b<a c<b d<b');
    });

    test('as a writer with two children gets no third when it renews', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      for (const name of ['a', 'b']) await stage.asks(name);
      stage.report('a', 'writing', { prefix: MIB, strained: true });
      expect(await stage.asks('c')).toBe('read b');
    });

    test('as a claimer gets a leaf of every key of that keeper', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
      for (const name of ['a', 'b']) await stage.asks(name);
      expect(await stage.asks('c', { strained: true })).toBe('read a');
      expect(await stage.asks('d')).toBe('read b');
      const other = { key: `blob:sha256:${'b'.repeat(64)}` };
      await stage.asks('a', other);
      for (const name of ['c', 'b', 'd']) expect(await stage.asks(name, other)).not.toBe('read c');
    });

    test.each([
      ['a tree', 1_000_000],
      ['a chain', 10_000_000],
    ])('gets children all the same where all say so, each as few as may be: %s', async (_, rate) => {
      const names = Array.from('abcdefghijkl');
      const stage = new KeeperStage('k', ...names);
      stage.rates.noteCarries(10_000_000);
      stage.rates.noteRegistry('docker.io', rate);
      const answers: string[] = [];
      for (const name of names) answers.push(await stage.asks(name, { strained: true }));
      expect(answers).toEqual(['write', ...names.slice(0, -1).map((name) => `read ${name}`)]);
    });

    test('gets a leaf by its first renewal already, where a keeper learns of it by that', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      expect(stage.report('a', 'writing', { grant: 'from another keeper', prefix: MIB, strained: true })).toBe('ok');
      expect(await stage.asks('b')).toBe('read a');
      expect(await stage.asks('c')).toBe('read b');
    });

    test('by another is not believed', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
      await stage.asks('a');
      await stage.asks('b', { strained: true, onBehalfOf: 'b' });
      for (const name of ['c', 'd']) await stage.asks(name);
      expect(stage.tree()).toBe('a! b<a c<a d<b');
    });

    test('as a holder is named where there is no other', async () => {
      const stage = new KeeperStage('k', 'a', 'b', 'c');
      const other = { key: `blob:sha256:${'b'.repeat(64)}` };
      await stage.asks('a', { strained: true });
      stage.report('a', 'held', { sizeBytes: 100 * MIB });
      stage.report('a', 'held', { ...other, sizeBytes: 100 * MIB });
      stage.report('b', 'held', { ...other, sizeBytes: 100 * MIB });
      expect(await stage.asks('c', other)).toBe('read b,a');
      expect(await stage.asks('c')).toBe('read a');
    });
  });

  test('where all leaves of a chain are slow, who comes later sits above them, and not beside them at the writer', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    stage.rates.noteCarries(10_000_000);
    stage.rates.noteRegistry('docker.io', 10_000_000);
    for (const name of ['a', 'b']) await stage.asks(name);
    expect(await stage.asks('c', { strained: true })).toBe('read b');
    await stage.renews('a', 3_000, { prefix: MIB });
    expect(await stage.asks('d')).toBe('read b');
    expect(stage.tree()).toBe('a! b<a c<b d<b');
  });

  test('a slow holder is better than upstream', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    stage.report('a', 'held', { sizeBytes: 100 * MIB });
    expect(await stage.asks('b')).toBe('read a');
    expect(await stage.asks('b', { failing: { a: 'slow' } })).toBe('read a');
    expect(await stage.asks('b', { failing: { a: 'broken' } })).toBe('write');
  });
});

describe('tree or chain', () => {
  const fast = { carries: 10_000_000, registryRate: 8_000_000 };

  test('a chain where upstream is as fast as a node can send, and the chain is short', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    await stage.asks('a', fast);
    expect(await stage.asks('b', fast)).toBe('read a');
    expect(await stage.asks('c', fast)).toBe('read b');
  });

  test('a tree where it is slower, where the blob is small, and where nothing is known', async () => {
    // The most that an agent sent is what others asked for, or what its system took.
    const sent = { uplink: fast.carries, registryRate: fast.registryRate };
    for (const hints of [{ ...fast, registryRate: 4_000_000 }, { ...fast, sizeBytes: 100_000 }, sent, {}]) {
      const stage = new KeeperStage('k', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
      await stage.asks('a', hints);
      expect(await stage.asks('b', hints)).toBe('read a');
      expect(await stage.asks('c', hints)).toBe('read a');
    }
  });
});

describe('chains have one order, that of a ring', () => {
  async function chained(order: string, more: (name: string) => Parameters<KeeperStage['claim']>[1] = () => ({})) {
    const stage = new KeeperStage('k', ...Array.from('abcde'));
    stage.rates.noteCarries(10_000_000);
    stage.rates.noteRegistry('docker.io', 10_000_000);
    const answers: string[] = [];
    for (const name of order) answers.push(await stage.asks(name, more(name)));
    return { stage, answers };
  }

  test.each([
    ['abcde', 'a! b<a c<b d<c e<d'],
    ['aedcb', 'a! b<a c<b d<c e<d'],
    ['cbeda', 'a<e b<a c! d<c e<d'],
    ['eabdc', 'a<e b<a c<b d<c e!'],
  ])('%s, the first of whom writes', async (order, tree) => {
    expect((await chained(order)).stage.tree()).toBe(tree);
  });

  test('who loses its seat by that hears of it from its parent, and is told the new one', async () => {
    const { stage, answers } = await chained('adb');
    expect(answers).toEqual(['write', 'read a', 'read a instead of d']);
    expect(await stage.asks('b')).toBe('read a instead of d');
    expect(await stage.asks('d', { prefix: MIB })).toBe('read b');
    expect(stage.tree()).toBe('a! b<a d<b');
  });

  test('who could not take the seat that it was given leaves it to who had it', async () => {
    for (const fails of ['silent', 'full', 'broken'] as const) {
      const { stage } = await chained('aed');
      expect(stage.tree()).toBe('a! d<a e<d');
      // What it is told instead does not matter: e, which has heard nothing, is below a as before.
      await stage.asks('d', { failing: { a: fails } });
      const trees = { silent: 'a! d<e e<a', full: 'a! d<e e<a', broken: 'a< d! e<a' };
      expect(stage.tree()).toBe(trees[fails]);
    }
    const left = await chained('aed');
    left.stage.report('d', 'left');
    expect(left.stage.tree()).toBe('a! e<a');
    const died = await chained('aed');
    died.stage.dies('d');
    expect(died.stage.tree()).toBe('a! e<a');
    const arrived = await chained('aed');
    expect(await arrived.stage.asks('e', { prefix: MIB })).toBe('read d');
    arrived.stage.report('d', 'left');
    expect(arrived.stage.tree()).toBe('a! e<');
  });

  test('who is not known here, or complained of, moves nobody', async () => {
    const { stage } = await chained('ae');
    expect(await stage.asks('d-stranger')).toBe('read e');
    const doubted = (await chained('ae')).stage;
    await doubted.asks('b', { key: `blob:sha256:${'b'.repeat(64)}`, failing: { d: 'broken' } });
    expect(await doubted.asks('d')).toBe('read e');
  });

  test('nor is who began long ago moved, where another one took the right over a moment ago', async () => {
    const { stage } = await chained('ace');
    await stage.renews('a', 3_000, { prefix: 60 * MIB });
    expect(await stage.asks('c', { prefix: 50 * MIB, failing: { a: 'broken' } })).toBe('write');
    expect(await stage.asks('d')).toBe('read e');
  });

  test('who is to have no children is at the end, also where there are two', async () => {
    const { stage } = await chained('acbed', (name) => (name === 'b' || name === 'c' ? { strained: true } : {}));
    expect(stage.tree()).toBe('a! b<e c<b d<a e<d');
  });

  describe('who was slow', () => {
    const OTHER = `blob:sha256:${'b'.repeat(64)}`;
    /** Somebody says so of b, which is a relay of another blob; then all pull the next one. */
    async function afterwards(hints: object, times: number): Promise<string> {
      const stage = new KeeperStage('k', ...Array.from('abcde'));
      for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name, { ...hints, key: OTHER });
      const [child] = (/(.)<b/.exec(stage.tree(OTHER)) ?? []).slice(1);
      for (let i = 0; i < times; i += 1) {
        await stage.asks(child ?? '', { ...hints, key: OTHER, failing: { b: 'slow' } });
        await stage.renews('a', 2_000, { key: OTHER, prefix: (i + 1) * MIB });
      }
      stage.rates.noteCarries(10_000_000);
      stage.rates.noteRegistry('docker.io', 10_000_000);
      for (const name of 'abcde') await stage.asks(name);
      return stage.tree();
    }

    test('in a tree is where it always is: another keeper does not know of it', async () => {
      expect(await afterwards({}, 1)).toBe('a! b<a c<b d<c e<d');
    });

    test('in a chain for long is at the end', async () => {
      expect(await afterwards({ carries: 10_000_000, registryRate: 8_000_000 }, 4)).toBe('a! b<e c<a d<c e<d');
    });
  });

  test('a writer that loses its right for being slow is last in the next one', async () => {
    const { stage } = await chained('ab');
    const renewed = { prefix: 8 * MIB, rate: 2_000_000, output: 400_000, uplink: 800_000, phase: 'writing' } as const;
    await stage.renews('a', 9_000, renewed);
    expect(await stage.asks('b', { failing: { a: 'slow' }, uplink: 20_000_000 })).toBe('write');
    const key = `blob:sha256:${'b'.repeat(64)}`;
    for (const name of 'dabc') await stage.asks(name, { key });
    expect(stage.tree(key)).toBe('a<c b<d c<b d!');
  });

  test('who is strained and keeps its seat, as nobody can take it, gets no more below it', async () => {
    const { stage } = await chained('abcd');
    await stage.asks('d', { failing: { b: 'failed', c: 'strained' } });
    stage.dies('d');
    expect(stage.tree()).toMatch('c<b');
    expect(await stage.asks('e')).not.toBe('read c');
  });

  test('who once called the writer slow may take the seat of a strained relay below it', async () => {
    const { stage } = await chained('abc');
    expect(await stage.asks('c', { failing: { a: 'slow', b: 'strained' } })).toBe('read a instead of b');
  });

  test('who was moved and has not come yet has no parent where all above it are gone', async () => {
    const { stage } = await chained('aec');
    expect(stage.tree()).toBe('a! c<a e<c');
    stage.dies('a');
    await stage.pass(1_500);
    expect(stage.tree()).not.toContain('<a');
  });

  test('a node that nobody is to read from for a moment is passed, not waited at', async () => {
    const { stage } = await chained('ace');
    await stage.asks('k', { key: `blob:sha256:${'b'.repeat(64)}`, failing: { a: 'broken' } });
    expect(await stage.asks('d')).toBe('read c instead of e');
  });

  test('who is told that its parent is below it gets another one, and the parent stays where it is', async () => {
    const { stage } = await chained('abcde');
    expect(await stage.asks('c', { failing: { b: 'strained' } })).toBe('read a instead of b');
    expect(await stage.asks('b')).toBe('read e');
    await stage.asks('b', { failing: { e: 'cycle' } });
    expect(stage.tree()).toMatch(/^a! b<. c<a d<c e<d$/);
  });

  test('nobody is put behind one that is full', async () => {
    const { stage } = await chained('ace');
    await stage.asks('e', { failing: { c: 'full' } });
    stage.dies('e');
    expect(await stage.asks('d')).toBe('read a');
  });

  test('who comes later, comes again, or has some of it, moves nobody', async () => {
    for (const more of [{ prefix: MIB }, { failing: { b: 'broken' } }] as const) {
      const { stage } = await chained('ae');
      expect(await stage.asks('c', more)).toBe('read e');
    }
    const { stage } = await chained('ae');
    await stage.renews('a', 2_001, { prefix: MIB });
    expect(await stage.asks('c')).toBe('read e');
  });

  test('nor where it is no chain: another zone, a holder, a second writer', async () => {
    const zones = new KeeperStage('k', 'a@1', 'e@1', 'c@2');
    zones.rates.noteCarries(10_000_000);
    zones.rates.noteRegistry('docker.io', 10_000_000);
    for (const name of ['a', 'e']) await zones.asks(name);
    expect(await zones.asks('c')).toBe('read a');
    const { stage } = await chained('ae');
    stage.index.add(KEY, peerIdOf('b'));
    expect(await stage.asks('c')).toBe('read b');
  });
});

describe('in a chain, where all links are full,', () => {
  const fast = { carries: 10_000_000, registryRate: 8_000_000 };

  async function chain(hints: object) {
    const stage = new KeeperStage('k', 'a', 'b', 'c', 'd');
    for (const name of ['a', 'b', 'c', 'd']) await stage.asks(name, hints);
    return stage;
  }

  test('a relay that is slow for its child keeps it, and is no leaf', async () => {
    const stage = await chain(fast);
    expect(await stage.asks('c', { ...fast, failing: { b: 'slow' } })).toBe('read b');
    expect(stage.tree()).toBe('a! b<a c<b d<c');
  });

  test('nor does its child take another parent behind it, which nobody would count', async () => {
    const stage = await chain(fast);
    stage.report('a', 'held', { sizeBytes: 100 * MIB });
    expect(await stage.asks('c', fast)).toBe('read b,a');
    expect(await stage.asks('c', { ...fast, failing: { b: 'slow' } })).toBe('read b');
  });

  test('one that goes on to be slow for its child does not: six seconds, and four words of it', async () => {
    const stage = await chain(fast);
    const slow = { ...fast, failing: { b: 'slow' } } as const;
    for (let i = 0; i < 3; i += 1) {
      expect(await stage.asks('c', slow)).toBe('read b');
      await stage.renews('a', 2_000);
    }
    expect(await stage.asks('c', slow)).toBe('read a instead of b');
  });

  test('but not for what was said of it now and then', async () => {
    const stage = await chain(fast);
    for (let i = 0; i < 6; i += 1) {
      expect(await stage.asks('c', { ...fast, failing: { b: 'slow' } })).toBe('read b');
      await stage.renews('a', 6_000, { prefix: (i + 1) * MIB });
    }
  });

  test('a writer keeps its right for eight slow renewals, not three', async () => {
    const stage = await chain(fast);
    const renewed = { prefix: 8 * MIB, rate: 2_000_000, output: 400_000, uplink: 800_000, phase: 'writing' } as const;
    await stage.renews('a', 8_000, renewed);
    const slow = { ...fast, uplink: 20_000_000, failing: { a: 'slow' } } as const;
    expect(await stage.asks('b', slow)).toBe('read a');
    await stage.renews('a', 1_000, renewed);
    expect(await stage.asks('b', slow)).toBe('write');
  });

  test('a holder that is slow is left, though upstream is fast', async () => {
    const stage = new KeeperStage('k', 'a', 'b', 'c');
    stage.index.add(KEY, peerIdOf('a'));
    stage.index.add(KEY, peerIdOf('b'));
    const first = await stage.asks('c', fast);
    const [, parent = ''] = /^read (.)/.exec(first) ?? [];
    expect(await stage.asks('c', { ...fast, failing: { [parent]: 'slow' } })).not.toMatch(`read ${parent}`);
  });

  test('one that says that it is strained does not', async () => {
    const stage = await chain(fast);
    expect(await stage.asks('c', { ...fast, failing: { b: 'strained' } })).toBe('read a instead of b');
  });

  test('nor does one that is slow in a tree', async () => {
    const stage = await chain({});
    expect(stage.tree()).toBe('a! b<a c<a d<b');
    expect(await stage.asks('d', { failing: { b: 'slow' } })).toBe('read a instead of b');
  });

  test('a writer tells what its uplink carries, and each answer what was heard of that', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    await stage.asks('a');
    await stage.renews('a', 1_000, { carries: 5_000_000, prefix: 1 });
    expect(stage.rates.carries).toBe(5_000_000);
    expect(await stage.claim('b')).toMatchObject({ kind: 'read', carries: 5_000_000 });
    expect(await stage.claim('a')).toMatchObject({ kind: 'write', carries: 5_000_000 });
  });
});

describe('a claimer that yields', () => {
  const yields = { yields: true, waitMs: 50 } as const;

  test('waits for as long as it says, then it is asked to come again', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const answer = stage.asks('a', yields);
    await stage.pass(49);
    expect(stage.keeper.peek(KEY)?.grants.writer).toBeUndefined();
    await stage.pass(1);
    expect(await answer).toBe('wait');
    expect(await stage.asks('a')).toBe('write');
  });

  test('reads from another one that comes meanwhile', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    const answer = stage.asks('a', yields);
    await stage.pass(10);
    expect(await stage.asks('b')).toBe('write');
    expect(await answer).toBe('read b');
  });

  test('writes at once where a chain is to be, unless it is strained: those are better off below one writer', async () => {
    const stage = new KeeperStage('k', 'a', 'b');
    stage.rates.noteCarries(10_000_000);
    stage.rates.noteRegistry('docker.io', 10_000_000);
    const answer = stage.asks('a', { ...yields, strained: true });
    await stage.pass(50);
    expect(await answer).toBe('wait');
    expect(await stage.asks('a', yields)).toBe('write');
  });
});
