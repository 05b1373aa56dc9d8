import { expect, test } from 'vitest';
import { BlobClaim } from '../../../src/pull/blob-claim.ts';
import { digestOf } from '../../support/image.ts';

test('a lease is told of each piece that was sent, once, and of none before it', async () => {
  const told: number[] = [];
  const lease = { sent: (bytes: number) => void told.push(bytes) };
  const answers = [{ kind: 'read' }, { kind: 'write', lease }];
  const swarm = {
    blobKey: (digest: string) => `blob:${digest}`,
    bounds: { budgetMs: 6_000 },
    claims: { claim: async () => answers.shift() },
  };
  const claim = new BlobClaim(swarm as never, digestOf(Buffer.from('blob')), { inline: false });
  const pull = {
    source: 's',
    origin: { registry: 'r' },
    sizeBytes: 100,
    position: 0,
    signal: AbortSignal.timeout(1_000),
  };
  await claim.ask(pull as never);
  claim.sent(40);
  await claim.ask(pull as never);
  claim.sent(5);
  claim.sent(7);
  expect(told).toEqual([5, 7]);
});

test('with the right lost time is forgotten once, until bytes come, or another try begins', async () => {
  const swarm = {
    blobKey: (digest: string) => `blob:${digest}`,
    bounds: { budgetMs: 6_000 },
    claims: { claim: async () => ({ kind: 'write', lease: { progress: () => {} } }), left: () => {} },
  };
  const claim = new BlobClaim(swarm as never, digestOf(Buffer.from('blob')), { inline: false });
  const pull = { source: 's', origin: { registry: 'r' }, position: 0, signal: AbortSignal.timeout(1_000) } as never;
  /** Is it hopeless though the right was given again? */
  const isHopelessAfter = async (lostMs: number) => {
    claim.lost(lostMs);
    await claim.ask(pull);
    return claim.isHopeless;
  };
  claim.begin('s', undefined);
  expect(await isHopelessAfter(5_000)).toBe(false);
  expect(await isHopelessAfter(6_000)).toBe(true);
  claim.wrote(10);
  expect(await isHopelessAfter(5_000)).toBe(false);
  claim.begin('s', undefined);
  expect(await isHopelessAfter(5_900)).toBe(false);
  expect(await isHopelessAfter(5_900)).toBe(false);
});
