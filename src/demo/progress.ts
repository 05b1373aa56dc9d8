import type { NodeReport } from './nodes.ts';
import { mib } from './result.ts';
import type { Terminal } from './terminal.ts';

export interface BlobProgress {
  readonly digest: string;
  readonly sizeBytes: number;
  /** What upstream has sent of it. */
  readonly sentBytes: number;
  /** Clients that read it now. */
  readonly readers: number;
}

export interface ClientProgress {
  readonly name: string;
  readonly share: number;
  readonly outcome: 'complete' | 'quit' | 'failed' | undefined;
}

export interface DemoProgress {
  readonly elapsedMs: number;
  readonly sizeBytes: number;
  readonly upstreamBytes: number;
  readonly servedBytes: number;
  readonly blobs: readonly BlobProgress[];
  readonly nodes: readonly NodeReport[];
  readonly clients: readonly ClientProgress[];
}

/** One frame: a bar a blob, a node and a client, and a line of sums. No line is wider than the terminal. */
export function renderProgress(progress: DemoProgress, terminal: Terminal): string {
  const { paint } = terminal;
  const width = Math.min(terminal.columns - 1, 96);
  return [
    paint('bold', cut('  blob                 arrived from upstream', width)),
    ...progress.blobs.map((blob) => blobLine(blob, terminal, width)),
    '',
    ...nodeLines(progress, terminal, width),
    paint('bold', cut('  clients, each pulling all of it', width)),
    ...clientLines(progress.clients, terminal, width),
    '',
    cut(`  ${summary(progress)}`, width),
  ].join('\n');
}

export function summary({ elapsedMs, sizeBytes, upstreamBytes, servedBytes }: DemoProgress): string {
  const seconds = (elapsedMs / 1000).toFixed(1);
  return `${seconds} s   upstream ${mib(upstreamBytes)} of ${mib(sizeBytes)}   clients ${mib(servedBytes)}`;
}

function blobLine({ digest, sizeBytes, sentBytes, readers }: BlobProgress, terminal: Terminal, width: number): string {
  const short = digest.replace('sha256:', '').slice(0, 12);
  const note = readers > 0 ? `${readers} reading` : '';
  const fixed = 2 + 12 + 1 + 9 + 2 + 2 + 9;
  const share = Math.min(1, sentBytes / sizeBytes);
  const drawn = bar(share, Math.max(4, width - fixed), terminal);
  return `  ${terminal.paint('dim', short)} ${mib(sizeBytes).padStart(9)}  ${drawn}  ${note}`;
}

/** Where the bytes of each node came from; left out for one that is alone. */
function nodeLines({ nodes, sizeBytes }: DemoProgress, terminal: Terminal, width: number): string[] {
  if (nodes.length < 2) return [];
  const title = terminal.paint('bold', cut('  node                 arrived from upstream and from peers', width));
  const lines = nodes.map(({ name, upstreamBytes, peerBytes, killed }) => {
    const figures = `${mib(upstreamBytes).padStart(9)} + ${mib(peerBytes).padStart(9)}`;
    const share = Math.min(1, (upstreamBytes + peerBytes) / sizeBytes);
    const note = killed ? 'killed' : '';
    const fixed = 2 + 8 + 1 + 2 + figures.length + 2 + 7;
    const drawn = bar(share, Math.max(4, width - fixed), terminal, killed ? 'red' : undefined);
    return `  ${terminal.paint('dim', cut(name, 8).padEnd(8))} ${drawn}  ${figures}  ${note}`.trimEnd();
  });
  return [title, ...lines, ''];
}

function clientLines(clients: readonly ClientProgress[], terminal: Terminal, width: number): string[] {
  const perLine = width >= 70 ? 4 : 2;
  const cell = Math.floor((width - 2) / perLine);
  const cells = clients.map(({ name, share, outcome }) => {
    const [text, how] = OUTCOMES[outcome ?? 'pulling'];
    const note = outcome === undefined ? `${Math.floor(share * 100)}%` : text;
    const drawn = bar(share, Math.max(4, cell - 10), terminal, how);
    return `${name.padStart(2)} ${drawn} ${note.padEnd(4)}  `;
  });
  return Array.from({ length: Math.ceil(cells.length / perLine) }, (_, i) => {
    return `  ${cells.slice(i * perLine, (i + 1) * perLine).join('')}`.trimEnd();
  });
}

const OUTCOMES = {
  pulling: ['', 'cyan'],
  complete: ['done', 'green'],
  quit: ['quit', 'yellow'],
  failed: ['FAIL', 'red'],
} as const;

function bar(
  share: number,
  length: number,
  { marks, paint }: Terminal,
  how: 'cyan' | 'green' | 'yellow' | 'red' = share >= 1 ? 'green' : 'cyan',
): string {
  const full = Math.floor(Math.max(0, Math.min(1, share)) * length);
  return paint(how, marks.full.repeat(full)) + paint('dim', marks.empty.repeat(length - full));
}

/** For texts without colour. */
function cut(text: string, width: number): string {
  return text.length <= width ? text : text.slice(0, width);
}
