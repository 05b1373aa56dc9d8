import { expect, test } from 'vitest';
import { renderStatus } from '../../../src/cli/render-status.ts';
import type { Terminal } from '../../../src/demo/terminal.ts';
import type { AgentStatus, PeerStatus, TransferStatus } from '../../../src/status/agent-status.ts';

const MIB = 1024 * 1024;
const NOTHING = { store: 0, content: 0, ingest: 0, peer: 0, upstream: 0, none: 0 };

const QUIET: AgentStatus = {
  node: 'node-1',
  zone: '',
  peerId: null,
  version: '0.1.0',
  uptimeMs: 3_723_000,
  ready: true,
  discovery: 'none',
  peers: [],
  gone: [],
  unmet: [],
  transfers: [],
  uploads: { running: 0, rate: 0 },
  totals: {
    requests: NOTHING,
    bytes: NOTHING,
    hitRate: null,
    byteHitRate: null,
    upstreamBytes: 0,
    peerReceivedBytes: 0,
    peerSentBytes: 0,
    savedBytes: 0,
    takeovers: 0,
    blamed: 0,
    refused: 0,
  },
  lastHour: { overMs: 0, hitRate: null, byteHitRate: null, servedBytes: 0, upstreamBytes: 0, savedBytes: 0 },
  store: { blobs: 0, sizeBytes: 0, ingestBytes: 0, maxBytes: 20 * 1024 * MIB },
};

const peer = (nodeName: string, changes: Partial<PeerStatus> = {}): PeerStatus => ({
  nodeName,
  peerId: `12D3KooW${nodeName}`,
  zone: 'zone-a',
  dataAddress: '10.0.0.3:5051',
  p2pAddresses: ['/ip4/10.0.0.3/tcp/5052'],
  state: 'live',
  ...changes,
});

const transfer = (changes: Partial<TransferStatus> = {}): TransferStatus => ({
  id: 'i',
  pull: 'p',
  registry: 'docker.io',
  repository: null,
  digest: `sha256:${'0123456789abcdef'.repeat(4)}`,
  sizeBytes: 100 * MIB,
  written: 25 * MIB,
  state: 'writing',
  source: 'peer',
  from: ['node-2'],
  parentRole: 'writer',
  path: ['node-2'],
  rate: 12.5 * MIB,
  readers: 1,
  children: 2,
  to: ['node-3', 'node-4'],
  ...changes,
});

function terminal({ columns = 80, ascii = false } = {}): Terminal {
  return {
    isLive: false,
    columns,
    marks: ascii
      ? { full: '#', empty: '.', yes: 'ok', no: 'NO', arrow: '-->', times: 'x', more: '~' }
      : { full: '█', empty: '░', yes: '✔', no: '✘', arrow: '──▶', times: '×', more: '…' },
    paint: (_how, text) => text,
  };
}

test('a lone agent that has done nothing says so', () => {
  expect(renderStatus(QUIET, terminal())).toMatchInlineSnapshot(`
    "node-1  ready, up 1 h 2 min, windlass 0.1.0

    Peers: 0
      this agent is alone (discovery.kind is none)

    Transfers: 0
      nothing is on its way in

    Served                      requests         bytes
      hit rate               nothing yet   nothing yet

    Moved  0 B from registries, 0 B from peers, 0 B to peers
    Saved  0 B from registries
    Store  0 B of 20.0 GiB in 0 blobs"
  `);
});

test('an agent of a busy cluster', () => {
  const busy: AgentStatus = {
    ...QUIET,
    zone: 'zone-a',
    peerId: '12D3KooWEmLYTR7MNuieCFBmksUDxiEnGDuwSfZEDXQtJ4dR1MXv',
    discovery: 'dns',
    peers: [peer('node-2'), peer('node-with-a-longer-name', { zone: 'zone-b', state: 'suspect' })],
    transfers: [
      transfer(),
      transfer({ source: 'upstream', from: [], readers: 0, children: 1, written: 100 * MIB, state: 'verifying' }),
      transfer({ sizeBytes: null, written: 0, state: 'opening', source: 'none', from: [], children: 0, rate: 0 }),
    ],
    uploads: { running: 3, rate: 80 * MIB },
    totals: {
      ...QUIET.totals,
      requests: { ...NOTHING, store: 900, peer: 90, upstream: 10 },
      bytes: { ...NOTHING, store: 3 * 1024 * MIB, peer: 900 * MIB, upstream: 124 * MIB },
      hitRate: 0.99,
      byteHitRate: 0.97,
      upstreamBytes: 124 * MIB,
      peerReceivedBytes: 900 * MIB,
      peerSentBytes: 2048 * MIB,
      savedBytes: 3972 * MIB,
      takeovers: 1,
      blamed: 2,
    },
    store: { blobs: 512, sizeBytes: 4096 * MIB, ingestBytes: 300 * MIB, maxBytes: 20 * 1024 * MIB },
  };
  expect(renderStatus(busy, terminal())).toMatchInlineSnapshot(`
    "node-1 (zone zone-a)  ready, up 1 h 2 min, windlass 0.1.0
    12D3KooWEmLYTR7MNuieCFBmksUDxiEnGDuwSfZEDXQtJ4dR1MXv

    Peers: 2
      node-2                   zone-a  10.0.0.3:5051
      node-with-a-longer-name  zone-b  10.0.0.3:5051  suspect

    Transfers: 3, sending 3 to peers at 80.0 MiB/s
      0123456789ab ████████░░░░░░░░░░░░░░░░░░░░░░░░░░░  25%   25.0 MiB of 100.0 MiB
        writing from peer node-2, 12.5 MiB/s, read by 1 client, 2 peers
      0123456789ab ███████████████████████████████████ 100%  100.0 MiB of 100.0 MiB
        verifying from upstream, 12.5 MiB/s, read by 1 peer
      0123456789ab ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    ?                0 B of ?
        opening, 0 B/s, read by 1 client

    Served                      requests         bytes
      from store                     900       3.0 GiB
      from peers                      90     900.0 MiB
      from upstream                   10     124.0 MiB
      hit rate                     99.0%         97.0%

    Moved  124.0 MiB from registries, 900.0 MiB from peers, 2.0 GiB to peers
    Saved  3.9 GiB from registries, 1 takeover, a peer left 2 times
    Store  4.0 GiB of 20.0 GiB in 512 blobs, 300.0 MiB on their way"
  `);
});

test.each([48, 60, 80, 200])('no line is wider than a terminal of %d columns, whatever the names', (columns) => {
  const long = 'a'.repeat(253);
  const status: AgentStatus = {
    ...QUIET,
    node: long,
    zone: long,
    peerId: long,
    discovery: 'static',
    peers: Array.from({ length: 100 }, (_, i) => peer(`${i}${long}`, { zone: long, dataAddress: `${long}:5051` })),
    transfers: Array.from({ length: 100 }, () =>
      transfer({ from: [long], readers: 123_456, sizeBytes: 2 ** 50, written: 2 ** 49, rate: 2 ** 40 }),
    ),
    uploads: { running: 123_456, rate: 2 ** 40 },
    totals: { ...QUIET.totals, takeovers: 1e9, blamed: 1e9, refused: 1e9, upstreamBytes: 2 ** 52 },
  };
  const lines = renderStatus(status, terminal({ columns })).split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns);
  expect(lines.length).toBeLessThan(100);
  expect(lines.filter((line) => line.includes('and 84 more'))).toHaveLength(2);
});

test('a name from another machine cannot move the cursor', () => {
  const status = { ...QUIET, node: 'a\u001b[2Jb', discovery: 'static', peers: [peer('c\nd\r')] };
  expect(renderStatus(status, terminal()).replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  expect(renderStatus(status, terminal())).toContain('c d');
});

test('a terminal without UTF-8 gets ASCII alone', () => {
  const status = { ...QUIET, node: 'n'.repeat(200), transfers: [transfer()] };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what ASCII is
  expect(renderStatus(status, terminal({ ascii: true }))).toMatch(/^[\u0000-\u007f]*$/);
});

test('a bar is full only when everything is there', () => {
  const barOf = (written: number) =>
    /[█░]+/.exec(renderStatus({ ...QUIET, transfers: [transfer({ written })] }, terminal()))?.[0] ?? '';
  expect(barOf(0)).toMatch(/^░+$/);
  expect(barOf(100 * MIB - 1)).toMatch(/^█+░$/);
  expect(barOf(100 * MIB)).toMatch(/^█+$/);
});
