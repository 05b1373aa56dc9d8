import { describe, expect, test } from 'vitest';
import { parseRetryAfter, RestPeriod } from '../../../src/upstream/rest-period.ts';

const never = new AbortController().signal;

function stage() {
  const clock = { nowMs: 1_000 };
  const pauses: number[] = [];
  const rest = new RestPeriod({ registry: 'r', now: () => clock.nowMs, onPause: (pauseMs) => pauses.push(pauseMs) });
  return { clock, rest, pauses };
}

describe('a pause', () => {
  test('that is long rejects at once, with what is left of it', async () => {
    const { clock, rest } = stage();
    rest.begin(60_000, 900);
    clock.nowMs += 20_000;
    await expect(rest.pass(never)).rejects.toMatchObject({ code: 'UPSTREAM_RATE_LIMITED', retryAfterMs: 40_000 });
    clock.nowMs += 40_000;
    await rest.pass(never);
  });

  test('that is short can be left', async () => {
    const { rest } = stage();
    rest.begin(4_000, 900);
    const abort = new AbortController();
    const wait = rest.pass(abort.signal);
    abort.abort(new Error('left'));
    await expect(wait).rejects.toThrow('left');
  });

  test('is never shortened by a later answer', () => {
    const { rest } = stage();
    rest.begin(60_000, 900);
    expect(rest.begin(1_000, 900)).toBe(60_000);
  });

  test('of a day is capped', () => {
    expect(stage().rest.begin(86_400_000, 900)).toBe(600_000);
  });
});

describe('429 without Retry-After', () => {
  test('doubles from one refusal to the next, up to a minute, and starts anew after a success', () => {
    const { clock, rest } = stage();
    const next = (): number => {
      clock.nowMs += 100_000;
      return rest.begin(undefined, clock.nowMs - 10);
    };
    expect(Array.from({ length: 8 }, next)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    rest.succeeded();
    expect(next()).toBe(1_000);
  });

  test('thirty refusals of requests that were under way are one', () => {
    const { clock, rest, pauses } = stage();
    for (let index = 0; index < 30; index += 1) rest.begin(undefined, 900);
    expect(pauses).toEqual([1_000]);
    clock.nowMs += 5_000; // the pause is over; an answer to a request from before it comes late
    rest.begin(undefined, 950);
    expect(pauses).toEqual([1_000]);
    rest.begin(undefined, clock.nowMs - 1);
    expect(pauses).toEqual([1_000, 2_000]);
  });
});

describe('Retry-After', () => {
  test.each([
    [undefined, undefined, undefined],
    ['7', undefined, 7_000],
    [' 0 ', undefined, 0],
    ['1.5', undefined, 1_500],
    ['-3', undefined, undefined],
    ['soon', undefined, undefined],
    ['1e9', undefined, undefined],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 'Fri, 31 Dec 1999 23:59:29 GMT', 30_000],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 'Sat, 01 Jan 2000 00:00:29 GMT', 0],
    ['Fri, 31 Dec 1999 23:59:59 GMT', undefined, 0],
  ])('%s at %s: %s', (header, date, expected) => {
    expect(parseRetryAfter(header, date)).toBe(expected);
  });
});
