import { describe, expect, it } from 'vitest';
import type { ClientManner, ClientReport } from '../../../src/demo/client.ts';
import type { NodeReport } from '../../../src/demo/nodes.ts';
import { renderKept, renderNext, renderResult } from '../../../src/demo/report.ts';
import { type DemoMeasurements, judge, type KillMeasurements, mib } from '../../../src/demo/result.ts';
import { type Terminal, terminalOf } from '../../../src/demo/terminal.ts';

const SIZE = 1_000_000;

function report(name: string, manner: ClientManner): ClientReport {
  const quits = manner === 'quits';
  return {
    name,
    manner,
    outcome: quits ? 'quit' : 'complete',
    receivedBytes: quits ? SIZE / 2 : SIZE,
    verified: quits ? 3 : 9,
    rangeRequests: manner === 'ranges' ? 14 : 0,
    directBytes: 0,
    timeMs: 1234,
    error: undefined,
  };
}

function node(name: string): NodeReport {
  return { name, upstreamBytes: SIZE / 2, peerBytes: SIZE / 2, heldBytes: SIZE, sentBytes: SIZE, killed: false };
}

const good: DemoMeasurements = {
  image: { name: 'r/x:1', sizeBytes: SIZE, blobs: 7, manifests: 2 },
  clients: [report('1', 'whole'), report('2', 'quits'), report('3', 'ranges')],
  upstream: {
    requests: { 'HEAD tag': 1, 'GET manifest': 2, 'GET blob': 7 },
    total: 10,
    sentBytes: SIZE,
    mostGetsOfOne: 1,
    resumed: 0,
  },
  containerd: { outcome: 'pulled', version: '9.9', unpacked: true, timeMs: 900 },
  upstreamRequestsOfContainerd: 0,
  agents: 1,
  togetherMs: 0,
  nodes: [node('node-1')],
  kill: undefined,
};
const NO_REQUESTS = { requests: {}, total: 0, sentBytes: 0, mostGetsOfOne: 0, resumed: 0 };
const killed: KillMeasurements = {
  image: { name: 'r/y:1', sizeBytes: SIZE, blobs: 7, manifests: 2 },
  clients: [report('1', 'whole'), { ...report('2', 'whole'), directBytes: SIZE / 4 }, report('3', 'whole')],
  nodes: [node('node-1'), { ...node('node-2'), killed: true }, node('node-3')],
  upstream: { ...NO_REQUESTS, sentBytes: SIZE * 1.01 },
  direct: { ...NO_REQUESTS, sentBytes: SIZE / 4 },
  victim: { name: 'node-2', digest: `sha256:${'ab'.repeat(32)}`, blobBytes: SIZE / 2, written: SIZE / 8 },
  successor: 'node-3',
  getsOfVictimsBlob: 2,
};
const swarm: DemoMeasurements = {
  ...good,
  agents: 3,
  togetherMs: 1234,
  nodes: [node('node-1'), node('node-2'), node('node-3')],
  kill: killed,
};
const afterKill = (changed: Partial<KillMeasurements>): DemoMeasurements => ({
  ...swarm,
  kill: { ...killed, ...changed },
});
const [whole, quits, ranges] = good.clients as [ClientReport, ClientReport, ClientReport];
const upstream = (changed: Partial<DemoMeasurements['upstream']>) => ({
  ...good,
  upstream: { ...good.upstream, ...changed },
});
const requests = (changed: Record<string, number>) => upstream({ requests: { ...good.upstream.requests, ...changed } });

const terminal: Terminal = {
  isLive: true,
  columns: 80,
  marks: { full: '#', empty: '.', yes: 'ok', no: 'NO', arrow: '-->', times: '×', more: '…' },
  paint: (_, text) => text,
};

describe('the judgement of a demo', () => {
  it('holds where everything did', () => {
    const result = judge(good);
    expect(result).toMatchObject({ ok: true, ratio: 1, servedBytes: 2.5 * SIZE });
    expect(result.checks.length).toBe(6);
  });

  it('holds for a swarm of which one was killed', () => {
    const result = judge(swarm);
    expect(result).toMatchObject({ ok: true, ratio: 1 });
    expect(result.checks.map(({ text }) => text)).toEqual(
      expect.arrayContaining([
        '3 agents found each other, in 1.2 s.',
        'node-2 was killed at 122.1 KiB of 488.3 KiB of abababababab: node-3 went on.',
        'With an agent lost in the middle, the agents asked for 1.01× the image.',
        '3 of 3 clients have the second image whole; without its agent, client 2 after 732.4 KiB went to the registry itself.',
      ]),
    );
    const printed = renderResult(result, terminal);
    expect(printed).toMatch(/^ {2}node-2 +488\.3 KiB +488\.3 KiB +976\.6 KiB +killed$/m);
    expect(printed).toMatch(/^ {2}agents asked for +986\.3 KiB +1\.01× the second image$/m);
  });

  it('holds without containerd', () => {
    const result = judge({ ...good, containerd: { outcome: 'skipped', reason: 'it needs root' } });
    expect(result.ok).toBe(true);
    expect(renderResult(result, terminal)).toContain('skipped: it needs root');
  });

  it.each<[string, DemoMeasurements, RegExp]>([
    ['2% more bytes', upstream({ sentBytes: SIZE * 1.02 }), /1\.02×/],
    ['bytes from nowhere', upstream({ sentBytes: 0 }), /0\.00×/],
    ['a blob asked for twice', requests({ 'GET blob': 8 }), /GET blob 8 instead of 7/],
    ['one digest twice and another never', upstream({ mostGetsOfOne: 2 }), /one digest more than once/],
    ['a second look at the tag', requests({ 'HEAD tag': 2 }), /HEAD tag 2 instead of 1/],
    ['a GET of the tag', requests({ 'GET tag': 1 }), /GET tag 1 instead of 0/],
    ['an odd request', requests({ other: 1 }), /other 1 instead of 0/],
    ['a client that failed', { ...good, clients: [{ ...whole, outcome: 'failed' }, quits, ranges] }, /1 of 2 clients/],
    ['a digest not verified', { ...good, clients: [{ ...whole, verified: 8 }, quits, ranges] }, /1 of 2 clients/],
    ['a quitter that stayed', { ...good, clients: [whole, { ...quits, outcome: 'complete' }, ranges] }, /was to quit/],
    ['ranges that failed', { ...good, clients: [whole, quits, { ...ranges, outcome: 'failed' }] }, /14 ranges: failed/],
    ['containerd that went upstream', { ...good, upstreamRequestsOfContainerd: 3 }, /3 more requests/],
    ['agents that did not find each other', { ...swarm, togetherMs: undefined }, /3 agents did not find each other/],
    ['nobody to kill', afterKill({ victim: undefined }), /No agent was killed/],
    ['nobody who went on', afterKill({ getsOfVictimsBlob: 1 }), /nobody went on/],
    [
      'too much asked for again',
      afterKill({ upstream: { ...NO_REQUESTS, sentBytes: SIZE * 1.2 } }),
      /asked for 1\.20×/,
    ],
    ['nothing asked for', afterKill({ upstream: NO_REQUESTS }), /asked for 0\.00×/],
    [
      'a survivor that failed',
      afterKill({ clients: [{ ...whole, outcome: 'failed' }, whole, whole] }),
      /2 of 3 clients have the second/,
    ],
    [
      'a survivor whose agent failed as well',
      afterKill({ clients: [whole, { ...whole, directBytes: 1 }, { ...whole, directBytes: 1 }] }),
      /went to the registry itself/,
    ],
    [
      'containerd that failed',
      { ...good, containerd: { outcome: 'failed', version: '9', error: 'EOF' } },
      /could not pull: EOF/,
    ],
  ])('does not hold with %s', (_, measured, text) => {
    const result = judge(measured);
    expect(result.ok).toBe(false);
    const failed = result.checks.filter((check) => !check.held).map((check) => check.text);
    expect(failed.join('\n')).toMatch(text);
    const printed = renderResult(result, terminal);
    expect(printed.match(/^ {2}NO /gm)?.length).toBe(failed.length);
    expect(printed).toContain('Something did not hold');
  });
});

describe('what is printed at the end', () => {
  it('says who got what, what upstream saw, and the ratio', () => {
    const printed = renderResult(judge(good), terminal);
    expect(printed).toMatch(/^ {2}1 +976\.6 KiB +1\.2 s +9 of 9 verified$/m);
    expect(printed).toMatch(/^ {2}2, quits +488\.3 KiB +1\.2 s +3 of 9 verified, then it left$/m);
    expect(printed).toMatch(/^ {2}together +10 +976\.6 KiB +1\.00× the image$/m);
  });

  it('fits into 80 columns', () => {
    const url = 'http://127.0.0.1:65535';
    const kept = { mirrorUrl: url, registryUrl: url, statusUrl: url, image: 'registry.example/windlass/demo:1' };
    const texts = [
      renderResult(judge(good), terminal),
      renderResult(judge(swarm), terminal),
      renderNext(),
      renderKept(kept),
    ];
    for (const line of texts.join('\n').split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it('needs no second line for what held, at 80 columns', () => {
    const whole: DemoMeasurements['containerd'] = {
      outcome: 'pulled',
      version: '1.6.20~ds1',
      unpacked: true,
      timeMs: 1,
    };
    const printed = renderResult(judge({ ...good, containerd: whole }), terminal);
    expect(printed.match(/^ {2}ok .*$/gm)).toHaveLength(6);
    expect(printed).not.toMatch(/^ {5}/m);
  });

  it('is ASCII where the terminal is', () => {
    const ascii = terminalOf(process.stdout, { TERM: 'dumb' });
    expect(renderResult(judge(good), ascii)).toMatch(/^[\n\x20-\x7e]*$/);
    expect(renderNext()).toMatch(/^[\n\x20-\x7e]*$/);
  });

  it('writes sizes with their unit', () => {
    expect([mib(0), mib(1023), mib(2548), mib(75_520_404)]).toEqual(['0 B', '1023 B', '2.5 KiB', '72.0 MiB']);
  });
});
