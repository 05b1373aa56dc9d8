import { expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { GonePeer, PeerStatus } from '../../../src/status/agent-status.ts';
import { History } from '../../../src/status/history.ts';
import { RateMeter } from '../../../src/status/rate-meter.ts';
import { type RunningTransfer, StatusReport } from '../../../src/status/status-report.ts';

const EMPTY_STORE = { blobs: 0, blobBytes: 0, ingestBytes: 0, maxBytes: 1000 };

interface Parts {
  readonly metrics?: Metrics;
  readonly peers?: readonly PeerStatus[];
  readonly gone?: readonly GonePeer[];
  readonly unmet?: readonly { readonly address: string; readonly nodeName?: string }[];
  readonly transfers?: readonly RunningTransfer[];
}

const reportOf = ({ metrics = new Metrics(), peers = [], gone = [], unmet = [], transfers = [] }: Parts) =>
  new StatusReport({
    history: new History(metrics),
    node: 'n1',
    zone: () => 'a',
    version: '1.2.3',
    discovery: 'static',
    peers: () => peers,
    gone: () => gone,
    unmet: () => unmet,
    transfers: () => transfers,
    store: () => EMPTY_STORE,
    metrics,
  });

const peer = (nodeName: string): PeerStatus => ({
  nodeName,
  peerId: `id-of-${nodeName}`,
  zone: 'a',
  dataAddress: '10.0.0.1:5051',
  p2pAddresses: ['/ip4/10.0.0.1/tcp/5052'],
  state: 'live',
});

const transfer = (changes: Partial<RunningTransfer>): RunningTransfer => ({
  id: 'i',
  pull: 'p',
  origin: { registry: 'docker.io', repository: 'private/one' },
  digest: 'sha256:0',
  state: 'writing',
  sizeBytes: 100,
  written: 10,
  readers: 1,
  startedAtMs: Date.now() - 1000,
  source: 'none',
  parents: [],
  parentRole: undefined,
  path: [],
  children: 0,
  to: [],
  ...changes,
});

test('an agent that has done nothing has no rates to tell, and no nonsense either', async () => {
  const status = await reportOf({}).read(false, false);
  expect(status).toMatchObject({
    node: 'n1',
    zone: 'a',
    version: '1.2.3',
    ready: false,
    peerId: null,
    peers: [],
    transfers: [],
    uploads: { running: 0, rate: 0 },
    totals: { hitRate: null, byteHitRate: null, savedBytes: 0 },
    store: { blobs: 0, sizeBytes: 0, maxBytes: 1000 },
  });
  expect(JSON.parse(JSON.stringify(status))).toEqual(status);
});

test('the hit rate counts what was answered well, and the bytes that did not come from upstream', async () => {
  const metrics = new Metrics();
  const answered = (source: string, code: string, times: number) =>
    metrics.mirrorRequests.inc({ kind: 'blob', method: 'GET', code, source }, times);
  answered('store', '200', 5);
  answered('peer', '206', 3);
  answered('upstream', '200', 2);
  answered('upstream', '503', 50);
  answered('none', '200', 50);
  metrics.mirrorBytes.inc({ source: 'store' }, 600);
  metrics.mirrorBytes.inc({ source: 'upstream' }, 400);
  metrics.upstreamBytes.inc({ registry: 'a' }, 150);
  metrics.upstreamBytes.inc({ registry: 'b' }, 100);
  const { totals } = await reportOf({ metrics }).read(true, false);
  expect(totals).toMatchObject({ hitRate: 0.8, byteHitRate: 0.75, savedBytes: 750, upstreamBytes: 250 });
  expect(totals.requests).toMatchObject({ store: 5, peer: 3, upstream: 2 });
});

test('an agent that fetches more than its own clients take saves nothing, which is not less than nothing', async () => {
  const metrics = new Metrics();
  metrics.mirrorBytes.inc({ source: 'upstream' }, 10);
  metrics.upstreamBytes.inc({ registry: 'a' }, 1000);
  expect((await reportOf({ metrics }).read(true, false)).totals).toMatchObject({ savedBytes: 0, byteHitRate: 0 });
});

test('peers stand by name, transfers by age; the peer that one is read from by its name', async () => {
  const status = await reportOf({
    peers: [peer('n3'), peer('n2')],
    transfers: [
      transfer({ id: 'late', digest: 'sha256:b', startedAtMs: Date.now(), source: 'upstream' }),
      transfer({ id: 'early', digest: 'sha256:a', source: 'peer', parents: ['id-of-n2'], children: 2 }),
      transfer({ id: 'middle', digest: 'sha256:c', startedAtMs: Date.now() - 500, parents: ['id-of-nobody'] }),
    ],
  }).read(true, false);
  expect(status.peers.map(({ nodeName }) => nodeName)).toEqual(['n2', 'n3']);
  expect(status.transfers.map(({ digest, from }) => [digest, from])).toEqual([
    ['sha256:a', ['n2']],
    ['sha256:c', ['id-of-nobody']],
    ['sha256:b', []],
  ]);
  expect(status.transfers[0]).toMatchObject({ source: 'peer', children: 2, readers: 1, sizeBytes: 100, written: 10 });
});

test('the way of a blob is told by names of nodes; that of its repository only to who may know it', async () => {
  const report = reportOf({
    peers: [peer('n2'), peer('n3')],
    transfers: [
      transfer({
        parents: ['id-of-n3'],
        parentRole: 'relay',
        path: ['id-of-n2', 'id-of-n3'],
        to: ['id-of-n2', 'id-x'],
      }),
    ],
  });
  const [told] = (await report.read(true, true)).transfers;
  expect(told).toMatchObject({ path: ['n2', 'n3'], from: ['n3'], to: ['n2', 'id-x'], parentRole: 'relay' });
  expect(told).toMatchObject({ registry: 'docker.io', repository: 'private/one' });
  const hidden = await report.read(true, false);
  expect(hidden.transfers[0]).toMatchObject({ registry: 'docker.io', repository: null });
  expect(JSON.stringify(hidden)).not.toContain('private/one');
});

test('who went is told, unless its node is back as another member', async () => {
  const addresses = { dataAddress: '10.0.0.1:5051', p2pAddresses: ['/ip4/10.0.0.1/tcp/5052'] };
  const gone = (nodeName: string) => ({ nodeName, zone: 'a', state: 'dead' as const, goneMs: 5, ...addresses });
  const report = reportOf({ peers: [peer('n2')], gone: [gone('n2'), gone('n3')] });
  expect((await report.read(true, false)).gone).toEqual([gone('n3')]);
});

test('what discovery names beside the members is told in order, and never without end', async () => {
  const unmet = Array.from({ length: 150 }, (_, at) => ({ address: `10.0.0.${250 - at}:5052` }));
  const told = (await reportOf({ unmet: [...unmet, { address: '1.0.0.1:5052', nodeName: 'n9' }] }).read(true, false))
    .unmet;
  expect(told.length).toBe(100);
  expect(told.slice(0, 2)).toEqual([
    { address: '1.0.0.1:5052', nodeName: 'n9' },
    { address: '10.0.0.101:5052', nodeName: null },
  ]);
});

test('a rate is that since the last look, by whoever; at the first since the beginning', () => {
  const meter = new RateMeter();
  expect(meter.look('a', 500, 2000, 1000)).toBe(500);
  expect(meter.look('a', 2500, 3000, 1000)).toBe(2000);
  expect(meter.look('a', 9999, 3100, 1000), 'too soon to tell').toBe(2000);
  expect(meter.look('a', 2500, 4000, 1000)).toBe(0);
  expect(meter.look('a', 100, 5000, 1000), 'begun anew').toBe(0);
  expect(meter.look('b', 100, 1000, 1000), 'begun this moment').toBe(0);
  meter.keepOnly(['b']);
  expect(meter.look('a', 1000, 2000, 1000)).toBe(1000);
});
