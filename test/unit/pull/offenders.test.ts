import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { Offenders } from '../../../src/pull/offenders.ts';
import { digestOf } from '../../support/image.ts';

const DIGEST = digestOf(Buffer.from('a blob'));

describe('peers that are left out', () => {
  let offenders: Offenders;

  beforeEach(() => {
    vi.useFakeTimers();
    // lru-cache takes the time 0 for none.
    vi.advanceTimersByTime(1_000);
    offenders = new Offenders({ logger: pino({ level: 'silent' }), metrics: new Metrics() });
  });
  afterEach(() => vi.useRealTimers());

  it('are named for a minute, if they gave wrong bytes', () => {
    offenders.blame('liar', 'wrong', DIGEST, undefined);
    expect(offenders.leftOut()).toEqual([{ peerId: 'liar', reason: 'wrong' }]);
    vi.advanceTimersByTime(61_000);
    expect(offenders.leftOut()).toEqual([]);
  });

  it('are named once they were silent twice, and not at once', () => {
    offenders.leave('mute', 'silent', DIGEST, undefined);
    expect(offenders.leftOut()).toEqual([]);
    vi.advanceTimersByTime(2_000);
    offenders.leave('mute', 'silent', DIGEST, undefined);
    expect(offenders.leftOut()).toEqual([{ peerId: 'mute', reason: 'silent' }]);
  });

  it('are not those that lack a single blob, or were only slow', () => {
    offenders.blame('forgetful', 'missing', DIGEST, undefined);
    offenders.leave('slow', 'slow', DIGEST, undefined);
    expect(offenders.leftOut()).toEqual([]);
  });
});
