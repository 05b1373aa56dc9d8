import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { dataAddress, parseHostPort } from '../../../src/peer/data-address.ts';
import { Uploads } from '../../../src/peer/uploads.ts';

const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`);

describe('what was sent in a second at most', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  const start = () => {
    const uploads = new Uploads({ maxUploads: 2, uploadRateBytesPerSecond: 0, metrics: new Metrics() });
    const transfer = uploads.begin('12D3KooWa', DIGEST);
    if (transfer === undefined) throw new Error('no slot');
    const sendFor = (seconds: number, bytesPerSecond: number) => {
      for (let tick = 0; tick < seconds * 10; tick += 1) {
        vi.advanceTimersByTime(100);
        uploads.sent(transfer, bytesPerSecond / 10);
      }
    };
    return { uploads, transfer, sendFor };
  };

  it('is not known before, nor from what the system’s buffers took', () => {
    const { uploads, transfer, sendFor } = start();
    expect(uploads.highestRate).toBeUndefined();
    uploads.sent(transfer, 4_000_000);
    vi.advanceTimersByTime(10_000);
    uploads.sent(transfer, 4_000_000);
    sendFor(0.5, 1_000_000);
    expect(uploads.highestRate).toBeUndefined();
  });

  it('is the highest rate of all seconds', () => {
    const { uploads, sendFor } = start();
    sendFor(5, 1_000_000);
    expect(uploads.highestRate).toBeCloseTo(1_000_000, -5);
    sendFor(5, 3_000_000);
    sendFor(5, 500_000);
    expect(uploads.highestRate).toBeCloseTo(3_000_000, -5);
  });
});

describe('the address that others are told', () => {
  it('is what is announced, else where it listens', () => {
    expect(dataAddress('agent.example:1', '0.0.0.0', 2)).toBe('agent.example:1');
    expect(dataAddress('', '10.0.0.3', 2)).toBe('10.0.0.3:2');
    expect(dataAddress(undefined, 'fd00::3', 2)).toBe('[fd00::3]:2');
  });

  it.each(['0.0.0.0', '::'])('is one of this machine’s own behind %s', (wildcard) => {
    const parsed = parseHostPort(dataAddress(undefined, wildcard, 5051));
    expect(parsed?.port).toBe(5051);
    expect(['0.0.0.0', '::', undefined]).not.toContain(parsed?.host);
  });

  it.each(['', 'host', 'host:0', 'host:65536', '::1:5051', 'a b:1', 'http://x:1', '[zz]:1'])(
    'cannot be asked where it is none: %j',
    (text) => {
      expect(parseHostPort(text)).toBeUndefined();
    },
  );
});
