import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { IngestPhases } from '../../../src/pull/ingest-phases.ts';

beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => vi.useRealTimers());

const wait = (ms: number) => vi.advanceTimersByTime(ms);

test('each phase has the time from the end of the one before', () => {
  const phases = new IngestPhases();
  for (const [ms, phase] of [
    [3, 'claim'],
    [40, 'firstByte'],
    [900, 'transfer'],
    [20, 'verify'],
    [10, 'commit'],
  ] as const) {
    wait(ms);
    phases.ended(phase);
  }
  wait(5_000);
  expect(phases.times()).toEqual({ claim: 3, firstByte: 40, transfer: 900, verify: 20, commit: 10 });
});

test('a second claim, or a second first byte, belongs to the transfer', () => {
  const phases = new IngestPhases();
  wait(1);
  phases.ended('claim');
  wait(2);
  phases.ended('firstByte');
  wait(50);
  phases.ended('claim');
  phases.ended('firstByte');
  wait(50);
  phases.ended('transfer');
  expect(phases.times()).toMatchObject({ claim: 1, firstByte: 2, transfer: 100 });
});

test('a lone agent has no claim: its time is that of the first byte', () => {
  const phases = new IngestPhases();
  wait(30);
  phases.ended('firstByte');
  wait(70);
  phases.ended('transfer');
  expect(phases.times()).toMatchObject({ claim: 0, firstByte: 30, transfer: 70 });
});

test('what failed half way spent its last time in the phase that it did not end', () => {
  const phases = new IngestPhases();
  wait(2);
  phases.ended('claim');
  wait(500);
  expect(phases.times()).toEqual({ claim: 2, firstByte: 500, transfer: 0, verify: 0, commit: 0 });
  expect(new IngestPhases().times()).toEqual({ claim: 0, firstByte: 0, transfer: 0, verify: 0, commit: 0 });
});
