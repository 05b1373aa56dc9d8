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
    for (let count = 0; count < 100_100; count += 1) index.add(`blob:${count}`, 'a');
    expect(index.checksumOf('a', () => true).count).toBe(100_000);
    // Keys of others push out those that were asked for least recently.
    index.add('blob:new', 'b');
    expect(index.holders('blob:new')).toEqual(['b']);
    expect(index.holders('blob:0')).toEqual([]);
    expect(index.checksumOf('a', () => true).count).toBe(99_999);
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

  it('knows a holder on whose only key the next one pushed out', () => {
    const { index } = setUp();
    index.add('blob:first', 'b');
    for (let at = 1; at < 100_000; at += 1) index.add(`blob:${at}`, 'a');
    index.add('blob:second', 'b');
    expect(index.holders('blob:first')).toEqual([]);
    expect(index.entries).toBe(100_000);
    index.replace('b', []);
    expect(index.holders('blob:second')).toEqual([]);
    expect(index.entries).toBe(99_999);
  });
});
