import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDiscovery } from '../../../src/discovery/create-discovery.ts';
import type { Discovery } from '../../../src/discovery/discovery.ts';
import { DnsDiscovery, type DnsDiscoveryOptions } from '../../../src/discovery/dns-discovery.ts';
import { systemTimers } from '../../../src/time/timers.ts';
import { DnsServer } from '../../support/dns-server.ts';
import { eventually } from '../../support/eventually.ts';

const NAME = 'windlass-peers.example';
const logger = pino({ level: 'silent' });
const dns = { name: NAME, port: 5052 };
const kubernetes = { service: '', port: 5052 };
const options = { nodeName: 'n1', timers: systemTimers, logger };

/** What the listener was told, each time. */
async function listen(discovery: Discovery): Promise<string[][]> {
  const told: string[][] = [];
  await discovery.start((candidates) => told.push(candidates.map(({ address }) => address)));
  return told;
}

describe('none and static', () => {
  test('none finds nobody and is nothing to start', () => {
    expect(createDiscovery({ kind: 'none', peers: [], dns, kubernetes }, options)).toBeUndefined();
  });

  test('static names its list, each address once, names unresolved', async () => {
    const peers = [
      { host: '10.0.0.3', port: 5052 },
      { host: 'node-b.example', port: 6000 },
      { host: '::1', port: 5052 },
      { host: '10.0.0.3', port: 5052 },
    ];
    const discovery = createDiscovery({ kind: 'static', peers, dns, kubernetes }, options);
    if (discovery === undefined) throw new Error('no discovery');
    expect(await listen(discovery)).toEqual([['10.0.0.3:5052', 'node-b.example:6000', '[::1]:5052']]);
    await discovery.stop();
  });
});

describe('dns', () => {
  let server: DnsServer;
  let servers: string[];
  let discovery: DnsDiscovery | undefined;
  let lines: { level: number; msg: string; code?: string }[];

  /** How long it wanted to wait, each time; it waits a moment instead. */
  let waits: number[];

  const start = (options: Pick<DnsDiscoveryOptions, 'timeoutMs' | 'random'> = {}): Promise<string[][]> => {
    const log = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
    const after = (ms: number, call: () => void) => {
      waits.push(ms);
      const timer = setTimeout(call, 10);
      return () => clearTimeout(timer);
    };
    discovery = new DnsDiscovery(NAME, 5052, { logger: log, servers, after, ...options });
    return listen(discovery);
  };
  const told = (all: string[][], last: string[]) =>
    eventually(() => JSON.stringify(all.at(-1)) === JSON.stringify(last), {
      what: () => `${JSON.stringify(last)}, told ${JSON.stringify(all)}`,
    });
  const askedAgain = (times: number) => {
    const before = server.asked.length;
    return eventually(() => server.asked.length >= before + times);
  };

  beforeEach(async () => {
    server = new DnsServer();
    servers = [await server.listen()];
    lines = [];
    waits = [];
  });
  afterEach(async () => {
    await discovery?.stop();
    await server.close();
  });

  test('A and AAAA records take the one port', async () => {
    server.behaviour = { a: ['10.0.0.4', '10.0.0.3'], aaaa: ['fd00::3'] };
    await told(await start(), ['10.0.0.3:5052', '10.0.0.4:5052', '[fd00::3]:5052']);
    expect(server.asked[0]).toBe(NAME);
  });

  test('SRV records carry their own port and leave the name to the dialler', async () => {
    server.behaviour = {
      a: ['10.0.0.3', '10.0.0.4'],
      srv: [
        { name: 'b.example', port: 6001 },
        { name: 'a.example', port: 6000 },
        { name: '.', port: 6000 },
      ],
    };
    await told(await start(), ['a.example:6000', 'b.example:6001']);
  });

  test('of a service with several ports only the one counts, where it is among them', async () => {
    server.behaviour = {
      srv: [5051, 5052, 5053].flatMap((port) => ['a.example', 'b.example'].map((name) => ({ name, port }))),
    };
    await told(await start(), ['a.example:5052', 'b.example:5052']);
  });

  test('changing answers are told, the same ones are not', async () => {
    server.behaviour = { a: ['10.0.0.3', '10.0.0.4'] };
    const all = await start();
    await told(all, ['10.0.0.3:5052', '10.0.0.4:5052']);
    server.behaviour = { a: ['10.0.0.4', '10.0.0.3'] };
    await askedAgain(3);
    expect(all).toHaveLength(1);
    server.behaviour = { a: ['10.0.0.5'] };
    await told(all, ['10.0.0.5:5052']);
    server.behaviour = 'nxdomain';
    await told(all, []);
    expect(all).toHaveLength(3);
    expect(lines).toEqual([]);
  });

  test('a name that does not exist yet is no failure, and is found when it does', async () => {
    server.behaviour = 'nxdomain';
    const all = await start();
    await askedAgain(3);
    expect(all).toEqual([]);
    expect(lines).toEqual([]);
    server.behaviour = { a: ['10.0.0.3'] };
    await told(all, ['10.0.0.3:5052']);
  });

  test.each(['silent', 'servfail', 'refused'] as const)(
    'a server that fails (%s) changes nothing, and is logged once when it begins and once when it ends',
    async (failure) => {
      server.behaviour = { a: ['10.0.0.3'] };
      const all = await start({ timeoutMs: 250 });
      await told(all, ['10.0.0.3:5052']);
      server.behaviour = failure;
      await eventually(() => lines.length > 0);
      await askedAgain(4);
      expect(all).toEqual([['10.0.0.3:5052']]);
      expect(lines.map(({ level, msg }) => ({ level, msg }))).toEqual([
        { level: 40, msg: 'discovery: the name cannot be looked up' },
      ]);
      server.behaviour = { a: ['10.0.0.3', '10.0.0.9'] };
      await told(all, ['10.0.0.3:5052', '10.0.0.9:5052']);
      expect(lines.slice(1).map(({ level }) => level)).toEqual([30]);
    },
  );

  test('a server that knows no SRV and no AAAA questions will do', async () => {
    server.behaviour = { a: ['10.0.0.3'] };
    server.byType.set('srv', 'notimp');
    server.byType.set('aaaa', 'refused');
    await told(await start(), ['10.0.0.3:5052']);
    expect(lines).toEqual([]);
  });

  test('is asked sooner while there is nobody, and then every 10 s or so', async () => {
    const inSeconds = (seconds: number[]) =>
      eventually(() => waits.length >= seconds.length).then(() =>
        expect(waits.slice(0, seconds.length).map((ms, at) => Math.round(ms / 1_000 / (seconds[at] ?? 0)))).toEqual(
          seconds.map(() => 1),
        ),
      );
    await start();
    await inSeconds([1, 2, 4, 8, 10, 10]);
    server.behaviour = { a: ['10.0.0.3'] };
    await askedAgain(3);
    waits = [];
    await inSeconds([10, 10]);
    server.behaviour = 'nxdomain';
    await askedAgain(1);
    // The one wait that may still have been that of the last answer.
    await eventually(() => waits.length > 4);
    expect(Math.min(...waits)).toBeLessThan(1_300);
  });

  test.each([
    { state: 'somebody is found', records: { a: ['10.0.0.3'] }, waited: [7_500, 10_000, 11_250, 8_750] },
    { state: 'nobody is', records: {}, waited: [750, 2_000, 4_500, 7_000] },
  ])('while $state each wait is a quarter shorter to a quarter longer, by chance', async ({ records, waited }) => {
    const chances = [0, 0.5, 0.75, 0.25];
    server.behaviour = records;
    await start({ random: () => chances.shift() ?? 0.5 });
    await eventually(() => waits.length >= waited.length);
    expect(waits.slice(0, waited.length)).toEqual(waited);
  });

  test('says nothing more once stopped, though an answer is on its way', async () => {
    server.behaviour = 'silent';
    const all = await start();
    await eventually(() => server.asked.length > 0);
    await discovery?.stop();
    server.behaviour = { a: ['10.0.0.3'] };
    expect(all).toEqual([]);
    expect(lines).toEqual([]);
  });
});
