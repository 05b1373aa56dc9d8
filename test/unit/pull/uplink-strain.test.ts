import { describe, expect, test } from 'vitest';
import { type Flow, UplinkStrain } from '../../../src/pull/uplink-strain.ts';

const LOOK_MS = 250;
const MB = 1_000_000;

interface Link {
  /** MB a second that come in, in all, and that go out. */
  readonly incoming: number;
  readonly outgoing: number;
  /** Of each blob; each takes its share of what goes out. */
  readonly children?: readonly string[];
  readonly blobs?: number;
  /** Of the time. */
  readonly busy?: number;
  /** What the children have when it begins, in seconds of what comes in. */
  readonly lagSeconds?: number;
}

/** A node on the way of some blobs, and when it was found to be strained: seconds. */
class Stage {
  readonly strain: UplinkStrain;
  readonly found: number[] = [];
  nowMs = 1_000_000;
  /** @param uplinkMb a second, where that is known */
  constructor(uplinkMb?: number) {
    this.strain = new UplinkStrain(() => uplinkMb && uplinkMb * MB);
  }

  #sent = 0;
  #busyMs = 0;

  run(seconds: number, link: Link): this {
    const { incoming, outgoing, children = ['a', 'b'], blobs = 3, busy = 0.3, lagSeconds = 0 } = link;
    const ingests = Array.from({ length: blobs }, () => ({
      blob: {},
      seats: children.map((to) => ({ to, position: 0 })),
    }));
    const fromMs = this.nowMs;
    const before = (incoming * MB * lagSeconds) / blobs;
    for (; this.nowMs <= fromMs + seconds * 1000; this.nowMs += LOOK_MS) {
      const passed = (this.nowMs - fromMs) / 1000;
      const writtenBytes = before + (incoming * MB * passed) / blobs;
      const position = Math.min(writtenBytes, (outgoing * MB * passed) / blobs / children.length);
      const flows: Flow[] = ingests.map(({ blob, seats }) => ({
        blob,
        writtenBytes,
        children: seats.map((seat) => Object.assign(seat, { position })),
      }));
      const done = { sent: this.#sent + blobs * children.length * position, busyMs: this.#busyMs };
      if (this.strain.look(this.nowMs, done, flows)) this.found.push(passed);
      this.#busyMs += busy * LOOK_MS;
    }
    this.#sent += outgoing * MB * seconds;
    return this;
  }
}

describe('an uplink', () => {
  test('that carries less than comes in is found so within three seconds, and remembered for ten minutes', () => {
    const stage = new Stage().run(10, { incoming: 6, outgoing: 2.4 });
    expect(stage.found[0]).toBeGreaterThanOrEqual(2);
    expect(stage.found[0]).toBeLessThan(3);
    const lastMs = stage.nowMs - LOOK_MS;
    expect(stage.strain.isStrained(lastMs + 599_000)).toBe(true);
    expect(stage.strain.isStrained(lastMs + 600_000)).toBe(false);
  });

  test.each<[string, Link]>([
    ['it carries a chain', { incoming: 6, outgoing: 6, children: ['a'] }],
    ['it carries half of a tree, as where upstream is as fast as a link', { incoming: 6, outgoing: 6 }],
    ['it carries all', { incoming: 6, outgoing: 25 }],
    ['one node takes it slowly, of each blob', { incoming: 6, outgoing: 2.4, children: ['a'] }],
    ['nobody reads', { incoming: 6, outgoing: 0, children: [] }],
    ['the processor is busy all the time', { incoming: 6, outgoing: 2.4, busy: 0.95 }],
    ['little comes in', { incoming: 0.2, outgoing: 0.1 }],
    ['its children lag by little, of one blob', { incoming: 0.2, outgoing: 0.06, blobs: 1 }],
    ['others came late, and nothing comes in any more', { incoming: 0, outgoing: 2.4, lagSeconds: 10 }],
  ])('is not strained where %s', (_, link) => {
    const { found, strain, nowMs } = new Stage().run(10, link);
    expect(found).toEqual([]);
    expect(strain.isStrained(nowMs)).toBe(false);
  });

  test.each([
    [2.5, true],
    [3.9, true],
    [4.1, false],
    [100, false],
  ])('that once carried %d MB a second, and 2.4 now, is strained: %s', (uplinkMb, isStrained) => {
    const { strain, nowMs } = new Stage(uplinkMb).run(10, { incoming: 6, outgoing: 2.4 });
    expect(strain.isStrained(nowMs)).toBe(isStrained);
  });

  test.each<[string, Link, number | undefined]>([
    ['it is full in a tree', { incoming: 6, outgoing: 6 }, 6],
    // Others have better ones: theirs is not to be taken for all.
    ['it carries less than comes in', { incoming: 6, outgoing: 2.4 }, undefined],
    ['it sends all that is asked for', { incoming: 6, outgoing: 25 }, undefined],
    ['one node alone waits', { incoming: 6, outgoing: 2.4, children: ['a'] }, undefined],
    ['the processor is busy all the time', { incoming: 6, outgoing: 2.4, busy: 0.95 }, undefined],
  ])('where %s is known to carry so much, in MB a second', (_, link, carries) => {
    const { strain } = new Stage().run(10, link);
    expect(strain.carries === undefined ? undefined : strain.carries / MB).toEqual(
      carries === undefined ? undefined : expect.closeTo(carries, 1),
    );
  });

  test('is not known by one that is strained, when less comes in', () => {
    const children = ['a', 'b'];
    const stage = new Stage().run(10, { incoming: 6, outgoing: 2.4, children });
    stage.run(10, { incoming: 2.6, outgoing: 2.4, children, lagSeconds: 10 });
    expect(stage.strain.carries).toBeUndefined();
    // But by one that is not.
    expect(new Stage().run(10, { incoming: 2.6, outgoing: 2.4, lagSeconds: 10 }).strain.carries).toBeCloseTo(
      2.4 * MB,
      -5,
    );
  });

  test('carries at least what it ever sent to children that have settled', () => {
    expect(new Stage().run(10, { incoming: 6, outgoing: 12 }).strain.carriesAtLeast).toBeCloseTo(12 * MB, -5);
    expect(new Stage().run(10, { incoming: 6, outgoing: 0, children: [] }).strain.carriesAtLeast).toBeUndefined();
  });

  test('is not known by what new children are sent at first, which fills buffers', () => {
    const strain = new UplinkStrain();
    const children = ['a', 'b'].map((to) => ({ to, position: 0 }));
    let sent = 0;
    for (let ms = 0; ms <= 10_000; ms += LOOK_MS) {
      // 4 MB a second each, for as long as that takes; then half of one.
      const grown = ((ms < 1_500 ? 4 : 0.5) * MB * LOOK_MS) / 1000;
      for (const child of children) child.position += grown;
      sent += children.length * grown;
      strain.look(ms, { sent, busyMs: 0 }, [{ blob: strain, writtenBytes: 100 * MB, children }]);
    }
    expect((strain.carries ?? 0) / MB).toBeCloseTo(1, 1);
  });

  test('is not known by some children, where others, of blobs that are held, get most of it', () => {
    const strain = new UplinkStrain();
    const children = ['a', 'b'].map((to) => ({ to, position: 0 }));
    let sent = 0;
    for (let ms = 0; ms <= 10_000; ms += LOOK_MS) {
      for (const child of children) child.position += (0.5 * MB * LOOK_MS) / 1000;
      sent += (3 * MB * LOOK_MS) / 1000;
      strain.look(ms, { sent, busyMs: 0 }, [{ blob: strain, writtenBytes: 100 * MB, children }]);
    }
    expect(strain.carries).toBeUndefined();
  });

  test('is judged anew after a pause', () => {
    const stage = new Stage().run(1.5, { incoming: 6, outgoing: 2.4 });
    stage.nowMs += 60_000;
    expect(stage.run(1.5, { incoming: 6, outgoing: 2.4 }).found).toEqual([]);
  });
});
