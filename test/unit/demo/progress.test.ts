import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type DemoProgress, renderProgress } from '../../../src/demo/progress.ts';
import { terminalOf } from '../../../src/demo/terminal.ts';
import { PlainView } from '../../../src/demo/view.ts';

const MIB = 1024 * 1024;
const digest = (n: number) => `sha256:${String(n).padStart(12, '0')}${'0'.repeat(52)}`;

function progress(upstreamMib: number): DemoProgress {
  return {
    elapsedMs: 1500,
    sizeBytes: 100 * MIB,
    upstreamBytes: upstreamMib * MIB,
    servedBytes: 8 * upstreamMib * MIB,
    blobs: [
      { digest: digest(1), sizeBytes: 50 * MIB, sentBytes: 25 * MIB, readers: 7 },
      { digest: digest(2), sizeBytes: 50 * MIB, sentBytes: 100 * MIB, readers: 0 },
    ],
    nodes: Array.from({ length: 3 }, (_, i) => ({
      name: `node-${i + 1}`,
      upstreamBytes: i * 40 * MIB,
      peerBytes: 20 * MIB,
      heldBytes: 0,
      sentBytes: 0,
      killed: i === 1,
    })),
    clients: Array.from({ length: 8 }, (_, i) => ({
      name: `${i + 1}`,
      share: i / 7,
      outcome: ([undefined, 'quit', 'failed', 'complete'] as const)[i % 4],
    })),
  };
}

const tty = (columns: number) => Object.assign(new PassThrough(), { isTTY: true as const, columns });

describe('a frame of progress', () => {
  it.each([200, 80, 79, 60, 48, 10])('is never wider than a terminal of %i columns', (columns) => {
    const terminal = terminalOf(tty(columns), {});
    for (const line of renderProgress(progress(25), terminal).split('\n')) {
      expect(stripVTControlCharacters(line).length, line).toBeLessThan(Math.max(48, columns));
    }
  });

  it('draws how much of a blob came, and no more than all of it', () => {
    const [, half = '', twice = ''] = renderProgress(progress(25), terminalOf(tty(80), { LANG: 'C' })).split('\n');
    const count = (line: string, mark: string) => stripVTControlCharacters(line).split(mark).length - 1;
    expect(count(half, '#')).toBe(count(half, '.') - 1); // one dot is in "50.0 MiB"
    expect(half).toContain('7 reading');
    expect(count(twice, '.')).toBe(1);
    expect(twice).not.toContain('reading');
  });

  it('says of each node where its bytes came from, and which was killed', () => {
    const text = stripVTControlCharacters(renderProgress(progress(25), terminalOf(tty(80), {})));
    expect(text).toMatch(/node-1 +█+░+ +0 B \+ +20\.0 MiB$/m);
    expect(text).toMatch(/node-2 +█+░+ +40\.0 MiB \+ +20\.0 MiB +killed$/m);
    expect(text).toMatch(/node-3 +█+ +80\.0 MiB \+ +20\.0 MiB$/m);
    const alone = { ...progress(25), nodes: progress(25).nodes.slice(0, 1) };
    expect(renderProgress(alone, terminalOf(tty(80), {}))).not.toContain('node-1');
  });

  it('says of each client how far it is, or how it ended', () => {
    const text = stripVTControlCharacters(renderProgress(progress(25), terminalOf(tty(80), {})));
    expect(text).toMatch(/1 ░+ 0% .* 2 .*quit .* 3 .*FAIL .* 4 .*done/);
  });
});

describe('the terminal', () => {
  it('is drawn over only where it can be', () => {
    expect(terminalOf(tty(80), {}).isLive).toBe(true);
    expect(terminalOf(tty(80), { TERM: 'dumb' }).isLive).toBe(false);
    expect(terminalOf(Object.assign(new PassThrough(), { isTTY: false as const, columns: 0 }), {}).isLive).toBe(false);
  });

  it.each([
    [{ LANG: 'C' }, '#'],
    [{ LC_ALL: 'POSIX', LANG: 'en_US.UTF-8' }, '#'],
    [{ TERM: 'dumb', LANG: 'en_US.UTF-8' }, '#'],
    [{ LANG: 'de_DE.utf8' }, '█'],
    [{}, '█'],
  ])('with %j gets %s', (env, mark) => {
    expect(terminalOf(tty(80), env).marks.full).toBe(mark);
  });
});

describe('progress without a terminal', () => {
  it('is a line at each quarter, without control codes', () => {
    const stream = new PassThrough();
    const view = new PlainView(stream);
    for (let upstreamMib = 0; upstreamMib <= 100; upstreamMib++) view.show(progress(upstreamMib));
    const text = String(stream.read());
    expect(text.trim().split('\n').length).toBe(5);
    expect(text).toBe(stripVTControlCharacters(text));
    expect(text).toContain('upstream 75.0 MiB of 100.0 MiB');
  });
});
