import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DhtProvides } from '../../../src/routing/dht-provides.ts';
import { systemTimers } from '../../../src/time/timers.ts';

const holders = new Map<string, number>();
let told: string[];
let provides: DhtProvides;

beforeEach(() => {
  vi.useFakeTimers();
  holders.clear();
  told = [];
  const dht = {
    provide: (digest: string) => void told.push(digest),
    withdraw: (digest: string) => void told.push(`not ${digest}`),
  };
  provides = new DhtProvides({ dht, timers: systemTimers }, (digest) => holders.get(digest) ?? 0);
});
afterEach(() => {
  provides.stop();
  vi.useRealTimers();
});

it('tells what few others hold, and not before all who pull it together can have it', () => {
  provides.add(['few', 'many']);
  holders.set('many', 3);
  vi.advanceTimersByTime(29_000);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(32_000);
  expect(told).toEqual(['few']);
});

it('tells nothing of what was dropped meanwhile, and the rest in their time', () => {
  provides.add(['early', 'dropped']);
  vi.advanceTimersByTime(29_000);
  provides.add(['late']);
  provides.remove(['dropped']);
  expect(told).toEqual(['not dropped']);
  vi.advanceTimersByTime(120_000);
  expect(told).toEqual(['not dropped', 'early', 'late']);
});

it('is bounded, and tells nothing once stopped', () => {
  provides.add(Array.from({ length: 5_000 }, (_, i) => `${i}`));
  vi.advanceTimersByTime(61_000);
  expect(told).toHaveLength(1_000);
  provides.add(['after']);
  provides.stop();
  vi.advanceTimersByTime(120_000);
  expect(told).toHaveLength(1_000);
});
