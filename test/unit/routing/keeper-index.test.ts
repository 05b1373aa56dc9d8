import { describe, expect, it } from 'vitest';
import { KeeperIndex } from '../../../src/routing/keeper-index.ts';
import { digestOf } from '../../support/image.ts';

const digest = (text: string) => digestOf(Buffer.from(text));
const key = (text: string) => `blob:${digest(text)}`;

function setUp() {
  const live = new Set(['a', 'b', 'c']);
  let nowMs = 1_000;
  const index = new KeeperIndex({
    isLive: (peerId) => live.has(peerId),
    timers: { now: () => nowMs, after: () => () => {} },
  });
  return { index, live, pass: (ms: number) => (nowMs += ms) };
}

/** So many, in turn: <name>0, <name>1, … */
function tell(index: KeeperIndex, peerId: string, name: string, count: number): void {
  for (let at = 0; at < count; at += 1) index.add(`blob:${name}${at}`, peerId);
}

describe('KeeperIndex', () => {
  it('names the holders that were told of, each once', () => {
    const { index } = setUp();
    index.add(key('x'), 'a');
    index.add(key('x'), 'b');
    index.add(key('x'), 'a');
    index.add(key('y'), 'c');
    expect(index.holders(key('x'))).toEqual(['a', 'b']);
    index.remove(key('x'), 'a');
    expect(index.holders(key('x'))).toEqual(['b']);
    expect(index.holders(key('z'))).toEqual([]);
  });

  it('names no holder that is gone, and has it again when it is back within a minute', () => {
    const { index, live, pass } = setUp();
    index.add(key('x'), 'a');
    live.delete('a');
    index.sweep();
    expect(index.holders(key('x'))).toEqual([]);
    pass(59_000);
    index.sweep();
    live.add('a');
    index.sweep();
    expect(index.holders(key('x'))).toEqual(['a']);
  });

  it('forgets one that stays away for a minute', () => {
    const { index, live, pass } = setUp();
    index.add(key('x'), 'a');
    live.delete('a');
    index.sweep();
    pass(61_000);
    index.sweep();
    live.add('a');
    expect(index.holders(key('x'))).toEqual([]);
  });

  it('believes no hearsay of a holder that it just heard holds it no more; its own word at once', () => {
    const { index, pass } = setUp();
    index.addByHearsay(key('x'), 'a');
    expect(index.holders(key('x'))).toEqual(['a']);
    index.remove(key('x'), 'a');
    index.remove(key('y'), 'a');
    for (const name of ['x', 'y']) index.addByHearsay(key(name), 'a');
    expect([index.holders(key('x')), index.holders(key('y')), index.entries]).toEqual([[], [], 0]);
    index.addByHearsay(key('x'), 'b');
    index.add(key('x'), 'a');
    index.addByHearsay(key('x'), 'a');
    expect(index.holders(key('x'))).toEqual(['b', 'a']);
    pass(30_000);
    index.addByHearsay(key('y'), 'a');
    expect(index.holders(key('y'))).toEqual(['a']);
  });

  it('replaces all that is known of one holder', () => {
    const { index } = setUp();
    index.add(key('x'), 'a');
    index.add(key('y'), 'a');
    index.add(key('x'), 'b');
    index.replace('a', [key('y'), key('z')]);
    expect(index.holders(key('x'))).toEqual(['b']);
    expect(index.holders(key('y'))).toEqual(['a']);
    expect(index.holders(key('z'))).toEqual(['a']);
  });

  it('has the same checksum for the same set, whatever the order, and another for another set', () => {
    const { index } = setUp();
    for (const text of ['1', '2', '3']) index.add(key(text), 'a');
    for (const text of ['3', '1', '2']) index.add(key(text), 'b');
    for (const text of ['1', '2', '4']) index.add(key(text), 'c');
    const of = (peerId: string) => index.checksumOf(peerId, () => true);
    expect(of('a').count).toBe(3);
    expect(of('a').text()).toBe(of('b').text());
    expect(of('a').text()).not.toBe(of('c').text());
    expect(index.checksumOf('c', (wanted) => wanted !== key('4')).count).toBe(2);
  });

  it('holds no more than so many digests of one agent, and of all', () => {
    const { index } = setUp();
    tell(index, 'a', 'a', 100_100);
    expect(index.keysOf('a')).toHaveLength(100_000);
    // Keys of others push out those that it told of first.
    index.add('blob:new', 'b');
    expect(index.holders('blob:new')).toEqual(['b']);
    expect(index.holders('blob:a0')).toEqual([]);
    expect(index.keysOf('a')).toHaveLength(99_999);
    expect(index.entries).toBe(100_000);
  });

  it('loses nothing of the others to one that says it holds 100,000, what they hold included', () => {
    const { index, live } = setUp();
    live.add('liar');
    for (const honest of ['a', 'b', 'c']) tell(index, honest, honest, 1_000);
    const lies = Array.from({ length: 97_000 }, (_, at) => `blob:lie${at}`);
    index.replace('liar', [...['a', 'b', 'c'].flatMap((honest) => index.keysOf(honest)), ...lies]);
    // What they come to hold later takes the place of lies; more lies only that of others.
    for (const honest of ['a', 'b', 'c']) tell(index, honest, honest, 2_000);
    tell(index, 'liar', 'another', 50_000);
    for (const honest of ['a', 'b', 'c']) {
      const held = Array.from({ length: 2_000 }, (_, at) => `blob:${honest}${at}`);
      expect(held.filter((key) => !index.holders(key).includes(honest))).toEqual([]);
    }
    expect(index.keys()).toHaveLength(100_000);
    expect(index.holders('blob:another49999')).toEqual(['liar']);
  });

  it('is divided between two that hold more than there is room for: each keeps what it told last', () => {
    const { index } = setUp();
    tell(index, 'a', 'a', 60_000);
    tell(index, 'b', 'b', 60_000);
    expect([index.keysOf('a').length, index.keysOf('b').length]).toEqual([50_000, 50_000]);
    expect([index.holders('blob:a9999'), index.holders('blob:a10000')]).toEqual([[], ['a']]);
    expect([index.holders('blob:b9999'), index.holders('blob:b10000')]).toEqual([[], ['b']]);
  });

  it('takes what one has beyond an equal share for more of it, though another has more still', () => {
    const { index } = setUp();
    for (const [peerId, count] of [
      ['a', 60_000],
      ['b', 38_000],
      ['c', 2_000],
    ] as const) {
      tell(index, peerId, peerId, count);
    }
    index.add('blob:new', 'b');
    expect([index.holders('blob:b0'), index.holders('blob:new')]).toEqual([[], ['b']]);
    expect(index.keysOf('a')).toHaveLength(60_000);
  });

  it('keeps what was asked for longer than what was not', () => {
    const { index } = setUp();
    tell(index, 'a', 'a', 100_000);
    index.holders('blob:a0');
    for (const name of ['1', '2']) index.add(`blob:${name}`, 'b');
    expect(index.holders('blob:a0')).toEqual(['a']);
    expect([index.holders('blob:a1'), index.holders('blob:a2')]).toEqual([[], []]);
    expect(index.holders('blob:a3')).toEqual(['a']);
  });

  it('looks through a hundred at most of one who asks for all that it told', () => {
    const { index } = setUp();
    tell(index, 'a', 'a', 100_000);
    for (let at = 0; at < 100_000; at += 1) index.holders(`blob:a${at}`);
    index.add('blob:new', 'b');
    expect(index.keysOf('a')).toHaveLength(99_999);
    expect(index.holders('blob:a100')).toEqual([]);
    expect(index.holders('blob:new')).toEqual(['b']);
  });

  it('forgets some that hold a blob before it forgets the blob', () => {
    const { index, live } = setUp();
    live.add('d');
    for (const peerId of ['a', 'b', 'c', 'd']) tell(index, peerId, 'shared', 80_000);
    expect([index.entries, index.keys().length]).toEqual([300_000, 80_000]);
  });

  it('keeps the youngest record of a tag, and its age grows', () => {
    const { index, pass } = setUp();
    const record = (text: string) => Buffer.from(text);
    index.setLastKnown('tag:x/y:1', { bytes: record('new'), ageMs: 100 });
    index.setLastKnown('tag:x/y:1', { bytes: record('old'), ageMs: 5_000 });
    pass(50);
    expect(index.lastKnown('tag:x/y:1')).toEqual({ bytes: record('new'), ageMs: 150 });
    expect(index.lastKnown('tag:x/y:2')).toBeUndefined();
  });

  it('takes nothing back of a tag that was known before it was dropped', () => {
    const { index, pass } = setUp();
    const [old, fresh] = [Buffer.from('old'), Buffer.from('new')];
    index.setLastKnown('tag:x/y:1', { bytes: old, ageMs: 100 });
    expect([index.lacksTag('tag:x/y:1'), index.lacksTag('tag:x/y:2')]).toEqual([false, true]);
    index.forget('tag:x/y:1');
    pass(50);
    expect(index.setLastKnown('tag:x/y:1', { bytes: old, ageMs: 150 })).toBe(false);
    expect([index.lastKnown('tag:x/y:1'), index.lacksTag('tag:x/y:1')]).toEqual([undefined, false]);
    expect(index.setLastKnown('tag:x/y:1', { bytes: fresh, ageMs: 49 })).toBe(true);
    expect(index.lastKnown('tag:x/y:1')).toEqual({ bytes: fresh, ageMs: 49 });
  });

  it('takes no key of one that has few for another of it', () => {
    const { index } = setUp();
    index.add('blob:first', 'b');
    tell(index, 'a', 'a', 99_999);
    index.add('blob:second', 'b');
    expect([index.holders('blob:first'), index.holders('blob:second')]).toEqual([['b'], ['b']]);
    expect(index.entries).toBe(100_000);
    index.replace('b', []);
    expect(index.holders('blob:second')).toEqual([]);
    expect(index.entries).toBe(99_998);
  });
});
