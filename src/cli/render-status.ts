import type { Terminal } from '../demo/terminal.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { AgentStatus, PeerStatus, TransferStatus } from '../status/agent-status.ts';
import { showRate, showShare, showSize, showTime } from './quantities.ts';

/** Longer lists are cut: the rest is counted, and `--json` has it. */
const MOST_LINES = 16;
const MAX_WIDTH = 96;
const SOURCES: readonly (readonly [SourceLabel, string])[] = [
  ['store', 'store'],
  ['content', "containerd's store"],
  ['ingest', 'a running ingest'],
  ['peer', 'peers'],
  ['upstream', 'upstream'],
];

/** What `windlass status` prints, without a newline at its end. No line is wider than the terminal. */
export function renderStatus(status: AgentStatus, terminal: Terminal): string {
  const width = Math.min(terminal.columns - 1, MAX_WIDTH);
  return [
    ...head(status, terminal, width),
    '',
    ...peerLines(status, terminal, width),
    '',
    ...transferLines(status, terminal, width),
    '',
    ...totalLines(status, terminal, width),
  ]
    .join('\n')
    .replaceAll('…', terminal.marks.more);
}

function head(status: AgentStatus, { paint }: Terminal, width: number): string[] {
  const { node, zone, version, ready, uptimeMs, peerId } = status;
  const state = ready ? 'ready' : 'not ready';
  const room = width - ` · up ${showTime(uptimeMs)} · windlass ${version}`.length - state.length - 2;
  const name = cut(zone === '' ? node : `${node} (zone ${zone})`, Math.max(8, room));
  return [
    cutPainted(
      [
        ['bold', name],
        [undefined, '  '],
        [ready ? 'green' : 'yellow', state],
        ['dim', `, up ${showTime(uptimeMs)}, windlass ${version}`],
      ],
      width,
      paint,
    ),
    ...(peerId === null ? [] : [paint('dim', cut(peerId, width))]),
  ];
}

function peerLines({ peers, discovery }: AgentStatus, { paint }: Terminal, width: number): string[] {
  const title = paint('bold', `Peers: ${peers.length}`);
  if (peers.length === 0) {
    const why = discovery === 'none' ? 'this agent is alone (discovery.kind is none)' : 'none found so far';
    return [title, paint('dim', cut(`  ${why}`, width))];
  }
  const [shown, rest] = firstOf(peers);
  const names = column(
    shown.map(({ nodeName }) => nodeName),
    4,
    Math.floor(width * 0.4),
  );
  const zones = column(
    shown.map(({ zone }) => zone),
    0,
    Math.floor(width * 0.2),
  );
  const line = ({ nodeName, zone, dataAddress, state }: PeerStatus): string => {
    const text = `  ${pad(nodeName, names)}  ${zones === 0 ? '' : `${pad(zone, zones)}  `}${dataAddress}`;
    const note = state === 'live' ? '' : `  ${state}`;
    return cut(text, width - note.length) + (note === '' ? '' : paint('yellow', note));
  };
  return [title, ...shown.map(line), ...more(rest, paint)];
}

function transferLines({ transfers, uploads }: AgentStatus, terminal: Terminal, width: number): string[] {
  const { paint } = terminal;
  const sending = uploads.running === 0 ? '' : `, sending ${uploads.running} to peers at ${showRate(uploads.rate)}`;
  const title = paint('bold', `Transfers: ${transfers.length}`) + cut(sending, width - 16);
  if (transfers.length === 0) return [title, paint('dim', '  nothing is on its way in')];
  const [shown, rest] = firstOf(transfers);
  return [title, ...shown.flatMap((transfer) => transferLine(transfer, terminal, width)), ...more(rest, paint)];
}

/** Two lines: how far it is; where from, and who follows. */
function transferLine(transfer: TransferStatus, terminal: Terminal, width: number): string[] {
  const { digest, sizeBytes, written, state, source, from, rate, readers, children } = transfer;
  const short = digest.slice(digest.indexOf(':') + 1).slice(0, 12);
  const share = sizeBytes === null ? undefined : sizeBytes === 0 ? 1 : Math.min(1, written / sizeBytes);
  const percent = share === undefined ? '    ?' : `${Math.floor(share * 100)}%`.padStart(5);
  const whole = sizeBytes === null ? '?' : showSize(sizeBytes);
  const amount = (width < 64 ? whole : `${showSize(written)} of ${whole}`).padStart(width < 64 ? 10 : 22);
  const drawn = bar(share ?? 0, Math.max(4, width - `  ${short} ${percent}  ${amount}`.length), terminal);
  const origin = source === 'none' ? state : `${state} from ${[source, ...from].join(' ')}`;
  const followers = [count(readers, 'client'), count(children, 'peer')].filter((text) => text !== '').join(', ');
  const note = `    ${origin}, ${showRate(rate)}${followers === '' ? '' : `, read by ${followers}`}`;
  return [`  ${terminal.paint('dim', short)} ${drawn}${percent}  ${amount}`, terminal.paint('dim', cut(note, width))];
}

function totalLines({ totals, store }: AgentStatus, terminal: Terminal, width: number): string[] {
  const { paint } = terminal;
  const { hitRate, byteHitRate, requests, bytes } = totals;
  const share = (value: number | null): string => (value === null ? 'nothing yet' : showShare(value));
  const row = (first: string, second: string, third: string): string =>
    cut(`${first.padEnd(24)}${second.padStart(12)}${third.padStart(14)}`, width).trimEnd();
  const fact = (name: string, text: string): string => `${paint('bold', name)}  ${cut(text, width - 7)}`;
  const used = SOURCES.filter(([source]) => requests[source] > 0 || bytes[source] > 0);
  const trouble = [
    count(totals.takeovers, 'takeover'),
    totals.blamed > 0 ? `a peer left ${count(totals.blamed, 'time')}` : '',
    totals.refused > 0 ? `${totals.refused} refused` : '',
  ].filter((text) => text !== '');
  const moved = [
    `${showSize(totals.upstreamBytes)} from registries`,
    `${showSize(totals.peerReceivedBytes)} from peers`,
    `${showSize(totals.peerSentBytes)} to peers`,
  ];
  const onTheWay = store.ingestBytes === 0 ? '' : `, ${showSize(store.ingestBytes)} on their way`;
  return [
    paint('bold', row('Served', 'requests', 'bytes')),
    ...used.map(([source, name]) => row(`  from ${name}`, String(requests[source]), showSize(bytes[source]))),
    row('  hit rate', share(hitRate), share(byteHitRate)),
    '',
    fact('Moved', moved.join(', ')),
    fact('Saved', [`${showSize(totals.savedBytes)} from registries`, ...trouble].join(', ')),
    fact('Store', `${showSize(store.sizeBytes)} of ${showSize(store.maxBytes)} in ${store.blobs} blobs${onTheWay}`),
  ];
}

function bar(share: number, length: number, { marks, paint }: Terminal): string {
  const full = Math.floor(share * length);
  return (
    paint(share >= 1 ? 'green' : 'cyan', marks.full.repeat(full)) + paint('dim', marks.empty.repeat(length - full))
  );
}

function firstOf<T>(all: readonly T[]): [shown: readonly T[], rest: number] {
  return all.length <= MOST_LINES ? [all, 0] : [all.slice(0, MOST_LINES), all.length - MOST_LINES];
}

function more(rest: number, paint: Terminal['paint']): string[] {
  return rest === 0 ? [] : [paint('dim', `  and ${rest} more (--json has them all)`)];
}

function count(number: number, noun: string): string {
  return number === 0 ? '' : `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function column(texts: readonly string[], min: number, max: number): number {
  return Math.min(max, Math.max(min, ...texts.map((text) => text.length)));
}

function pad(text: string, width: number): string {
  return cut(text, width).padEnd(width);
}

/** For texts without colour. Names come from other machines: none may move the cursor. */
function cut(text: string, width: number): string {
  const safe = text.replace(/\p{Cc}/gu, ' ');
  return safe.length <= width ? safe : `${safe.slice(0, Math.max(0, width - 1))}…`;
}

function cutPainted(
  parts: readonly (readonly [how: Parameters<Terminal['paint']>[0] | undefined, text: string])[],
  width: number,
  paint: Terminal['paint'],
): string {
  let left = width;
  return parts
    .map(([how, text]) => {
      const shown = left <= 0 ? '' : cut(text, left);
      left -= shown.length;
      return how === undefined || shown === '' ? shown : paint(how, shown);
    })
    .join('');
}
