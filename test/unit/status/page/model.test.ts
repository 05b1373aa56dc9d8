import { expect, test } from 'vitest';
import { Model } from '../../../../src/status/page/model.js';
import { zonesOf } from '../../../../src/status/page/peers.js';
import { seriesOf } from '../../../../src/status/page/series.js';

const pulls = (...sequences: number[]) => sequences.map((sequence) => ({ sequence, endedMsAgo: 100 - sequence }));
const sample = (msAgo: number, answers: number, hits: number, bytes: number) => ({
  msAgo,
  answers,
  hits,
  servedBytes: bytes,
  upstreamBytes: bytes / 2,
  peerBytes: bytes / 4,
});

test('pulls are told once, the last to end first, and no more than 500 are kept', () => {
  const model = new Model();
  model.take('recent', pulls(1, 2, 3), 1_000);
  model.take('recent', pulls(3, 4), 2_000);
  expect(model.pulls.map(({ sequence }) => sequence)).toEqual([4, 3, 2, 1]);
  expect(model.pulls[0]?.endedAtMs).toBe(2_000 - 96);
  model.take('recent', pulls(...Array.from({ length: 900 }, (_, i) => i + 5)), 3_000);
  expect(model.pulls).toHaveLength(500);
  expect(model.pulls[0]?.sequence).toBe(904);
});

test('after the connection was lost all is told anew: an agent that was started again counts from 1', () => {
  const model = new Model();
  model.take('recent', pulls(70, 71), 1_000);
  model.begin();
  model.take('recent', pulls(1), 2_000);
  expect(model.pulls.map(({ sequence }) => sequence)).toEqual([1]);
});

test('the rate of a transfer is that of the last seconds, and not of the last piece', () => {
  const model = new Model();
  const tell = (written: number, nowMs: number) => {
    model.take('status', { transfers: [{ id: 'i', written, rate: 7 }] }, nowMs);
    return model.status?.transfers[0]?.rate;
  };
  expect(tell(0, 0), 'as it is told, at first').toBe(7);
  expect(tell(1_000, 1_000)).toBe(1_000);
  expect(tell(1_000, 2_000)).toBe(500);
  expect(tell(4_000, 6_500), 'of the last five').toBe(3_000 / 4.5);
  expect(tell(4_000, 20_000), 'alone again').toBe(7);
});

test('samples are told once, and forgotten after an hour', () => {
  const model = new Model();
  model.take('history', [sample(20_000, 0, 0, 0), sample(10_000, 1, 1, 1)], 100_000);
  model.take('history', [sample(11_000, 1, 1, 1), sample(0, 2, 2, 2)], 101_000);
  expect(model.samples.map(({ atMs }) => atMs)).toEqual([80_000, 90_000, 101_000]);
  model.take('history', [sample(0, 3, 3, 3)], 3_800_000);
  expect(model.samples.map(({ atMs }) => atMs)).toEqual([3_800_000]);
});

test('a series is what came from one sample to the next, a second; its hit rate that of five minutes', () => {
  const model = new Model();
  const told = [sample(20_000, 0, 0, 0), sample(10_000, 10, 5, 1_000), sample(0, 10, 5, 1_000)];
  model.take('history', told, 1_000_000);
  const series = seriesOf(model.samples, undefined, 1_000_000);
  expect(series).toMatchObject({ served: [100, 0], upstream: [50, 0], peers: [25, 0], hitRate: [0.5, 0.5] });
  expect(series.toMs - series.fromMs, 'however young the agent is').toBe(300_000);
});

test('where nothing was asked there is no hit rate, and nothing that went backwards is drawn', () => {
  const model = new Model();
  model.take('history', [sample(20_000, 5, 5, 900), sample(10_000, 5, 5, 0)], 1_000_000);
  expect(seriesOf(model.samples, undefined, 1_000_000)).toMatchObject({ served: [0], hitRate: [null] });
});

test('peers stand in their zones, our own first; who sends or reads is marked, who is gone is not live', () => {
  const peer = (nodeName: string, zone: string) => ({
    nodeName,
    peerId: `id-${nodeName}`,
    zone,
    dataAddress: 'a:1',
    p2pAddresses: [],
    state: 'live' as const,
  });
  const zones = zonesOf({
    zone: 'b',
    peers: [peer('n1', 'a'), peer('n2', 'b'), peer('n3', 'b')],
    gone: [{ nodeName: 'n4', zone: 'a', state: 'dead', goneMs: 65_000, dataAddress: '', p2pAddresses: [] }],
    // biome-ignore lint/suspicious/noExplicitAny: two fields are read
    transfers: [{ from: ['n2'], to: ['n2', 'n1'] }] as any,
  });
  expect(zones.map(({ zone, own, live }) => [zone, own, live])).toEqual([
    ['b', true, 2],
    ['a', false, 1],
  ]);
  expect(zones[0]?.peers.map(({ name, note, spoken }) => [name, note, spoken])).toEqual([
    ['n2', '↓ ↑', 'sends to this node, reads from this node'],
    ['n3', '', ''],
  ]);
  expect(zones[1]?.peers.map(({ name, note, state }) => [name, note, state])).toEqual([
    ['n1', '↑', 'live'],
    ['n4', 'lost 1 min ago', 'dead'],
  ]);
});
