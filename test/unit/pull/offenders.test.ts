import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { Offenders } from '../../../src/pull/offenders.ts';
import { digestOf } from '../../support/image.ts';

const [DIGEST, OTHER, THIRD] = ['a blob', 'another', 'a third'].map((text) => digestOf(Buffer.from(text))) as [
  Digest,
  Digest,
  Digest,
];

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

  it('are named once for all that they lack, and asked later than others for that alone', () => {
    for (const digest of [DIGEST, OTHER]) offenders.blame('forgetful', 'missing', digest, undefined);
    expect(offenders.leftOut()).toEqual([{ peerId: 'forgetful', reason: 'missing' }]);
    expect([OTHER, THIRD].map((digest) => offenders.lackedIt('forgetful', digest))).toEqual([true, false]);
    expect(offenders.fault('forgetful')).toBeUndefined();
    // What it vouched for when it had it is as good as it was.
    expect(offenders.isLiar('forgetful')).toBe(false);
    vi.advanceTimersByTime(61_000);
    expect(offenders.leftOut()).toEqual([]);
  });

  it('come in the order of what they did: lies, silence, what they lack', () => {
    offenders.blame('forgetful', 'missing', DIGEST, undefined);
    for (let at = 0; at < 2; at += 1) {
      offenders.leave('mute', 'silent', DIGEST, undefined);
      vi.advanceTimersByTime(2_000);
    }
    offenders.blame('liar', 'wrong', DIGEST, undefined);
    expect(offenders.leftOut().map(({ peerId }) => peerId)).toEqual(['liar', 'mute', 'forgetful']);
  });

  it('are not those that were only slow', () => {
    offenders.leave('slow', 'slow', DIGEST, undefined);
    expect(offenders.leftOut()).toEqual([]);
  });
});
