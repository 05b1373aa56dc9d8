import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Announcer } from '../../../src/routing/announcer.ts';
import { indexRequestSchema } from '../../../src/routing/index-messages.ts';
import { KeeperIndex } from '../../../src/routing/keeper-index.ts';
import type { KnownTag } from '../../../src/routing/kept.ts';
import { MemoryRoster } from '../../../src/routing/memory-roster.ts';
import { unpackDigests } from '../../../src/routing/packed-digests.ts';
import { EventQueue } from '../../support/event-queue.ts';
import { memberNamed } from '../../support/member-named.ts';
import { failOnUnhandledRejections, settle } from '../pull/pull-fixture.ts';

const DIGEST = `sha256:${'b'.repeat(64)}`;

failOnUnhandledRejections();

describe('what an announcer tells a keeper', () => {
  const queue = new EventQueue();
  const told: unknown[] = [];
  let tags: () => Promise<readonly KnownTag[]>;
  let announcer: Announcer;
  let answer: Promise<void> | undefined;
  let running = 0;
  let mostAtOnce = 0;

  beforeEach(() => {
    told.length = 0;
    answer = undefined;
    mostAtOnce = 0;
    const roster = new MemoryRoster(memberNamed('the-holder'), [memberNamed('the-keeper')], { timers: queue });
    announcer = new Announcer({
      roster,
      calls: {
        call: async (_, __, body) => {
          told.push(body);
          running += 1;
          mostAtOnce = Math.max(mostAtOnce, running);
          if ((body as { full?: boolean }).full === true) await answer;
          running -= 1;
          // It knows nothing.
          return { ok: false };
        },
      },
      index: new KeeperIndex({ isLive: () => true, timers: queue }),
      timers: queue,
      tags: () => tags(),
      logger: pino({ level: 'silent' }),
      confirmMs: 1_000,
    });
  });
  afterEach(() => announcer.stop());

  /** Each as its receiver reads it. */
  const full = () =>
    told
      .map((body) => indexRequestSchema.parse(body))
      .flatMap((body) => (body.type === 'announce' && body.full ? [body] : []));

  it('is told, and the process lives, where the tags cannot be read: now, and when it compares', async () => {
    tags = () => Promise.reject(new Error('EIO'));
    await announcer.start([DIGEST]);
    expect(full().map(({ add }) => unpackDigests(add))).toEqual([[DIGEST]]);
    await queue.run(queue.now() + 5_000);
    expect(full().length).toBeGreaterThan(2);
  });

  it('comes in the order in which it was put together: a change that comes meanwhile is told when all was', async () => {
    tags = async () => [];
    const gate = Promise.withResolvers<void>();
    answer = gate.promise;
    const started = announcer.start([DIGEST]);
    await settle();
    expect(full()).toHaveLength(1);
    announcer.withdraw([DIGEST]);
    const flushed = announcer.flush();
    await settle();
    gate.resolve();
    await Promise.all([started, flushed]);
    expect(mostAtOnce).toBe(1);
    const bodies = told.map((body) => indexRequestSchema.parse(body));
    const last = bodies.findLast(({ type }) => type === 'announce');
    expect(last?.type === 'announce' && [last.full, unpackDigests(last.remove)]).toEqual([false, [DIGEST]]);
  });

  it('is not waited for beyond the signal where the keeper still owes an answer to an earlier call', async () => {
    tags = async () => [];
    const gate = Promise.withResolvers<void>();
    answer = gate.promise;
    const started = announcer.start([DIGEST]);
    await settle();
    announcer.withdraw([DIGEST]);
    const leaving = new AbortController();
    const flushed = announcer.flush(leaving.signal);
    await settle();
    leaving.abort(new Error('out of time'));
    await flushed;
    expect(told.map((body) => indexRequestSchema.parse(body).type)).toEqual(['confirm', 'announce']);
    gate.resolve();
    await started;
    // Nor is it told then: who left tells nothing.
    await settle();
    expect(told).toHaveLength(2);
  });

  it('is how old tags are when it is told, however long others were waited for', async () => {
    tags = async () => [{ key: 'tag:docker.io/library/redis:7', bytes: randomBytes(100), ageMs: 1_000 }];
    const gate = Promise.withResolvers<void>();
    answer = gate.promise;
    const started = announcer.start([DIGEST]);
    await settle();
    // Behind the first one: listed now.
    const compared = queue.run(queue.now() + 2_000);
    await compared;
    gate.resolve();
    await started;
    await settle();
    const ages = full().map((body) => body.tags[0]?.ageMs);
    expect(ages.length).toBeGreaterThan(1);
    expect(ages[0]).toBe(1_000);
    expect(ages[1]).toBeGreaterThan(1_500);
  });

  it('leaves out a tag that no receiver would take, and the oldest of too many: the others, and digests, are told', async () => {
    const tag = (name: string, bytes: number, ageMs: number) => ({
      key: `tag:docker.io/library/${name}`,
      bytes: randomBytes(bytes),
      ageMs,
    });
    const many = Array.from({ length: 10_005 }, (_, nth) => tag(`many:${nth}`, 100, 1_000 + nth));
    const old = tag('of-1970:1', 100, 56 * 365 * 86_400_000);
    tags = async () => [tag('large:1', 5_000, 0), ...many];
    await announcer.start([DIGEST]);
    const [first] = full();
    expect(first && unpackDigests(first.add)).toEqual([DIGEST]);
    expect(first?.tags.map(({ key }) => key)).toEqual(many.slice(0, 10_000).map(({ key }) => key));

    told.length = 0;
    tags = async () => [old];
    await queue.run(queue.now() + 2_000);
    expect(full()[0]?.tags.map(({ key }) => key)).toEqual([old.key]);
  });
});
