import { afterEach, expect, test, vi } from 'vitest';
import { type ErrorCode, WindlassError } from '../../../src/errors.ts';
import { OpenRepositories } from '../../../src/pull/open-repositories.ts';
import type { RegistryClient } from '../../../src/upstream/registry-client.ts';
import {
  failOnUnhandledRejections,
  forever,
  logger,
  ORIGIN,
  OTHER,
  scriptedRegistries,
  useFakeClock,
} from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

failOnUnhandledRejections();
afterEach(() => void vi.useRealTimers());

const DIGEST = digestOf(Buffer.from('layer'));
const NEXT = digestOf(Buffer.from('the next layer'));
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type Scripted = ErrorCode | 'fine' | 'down' | 'nothing';

/** Registries whose answers to HEAD of a blob and of a manifest are a code, or fine; by host where they differ. */
function scripted(
  answers: { blob: Scripted; manifest: Scripted },
  {
    openWhenDown = true,
    hosts = ['docker.io', 'ghcr.io'],
    byHost = {},
    allows = (host: string) => host !== 'denied.example',
  }: {
    openWhenDown?: boolean;
    hosts?: readonly string[];
    byHost?: Readonly<Record<string, Scripted>>;
    allows?: (host: string) => boolean;
  } = {},
) {
  const asked: string[] = [];
  const answer = (host: string, kind: 'blob' | 'manifest') => {
    asked.push(`${kind} ${host}`);
    const code = byHost[host] ?? answers[kind];
    if (code === 'down') throw new WindlassError('UPSTREAM_UNAVAILABLE', kind, { registryDown: true });
    if (code === 'nothing') return { digest: undefined, contentType: undefined, sizeBytes: undefined };
    if (code !== 'fine') throw new WindlassError(code, kind);
    return { digest: undefined, contentType: undefined, sizeBytes: 1 };
  };
  const base = scriptedRegistries({});
  const get = (host: string): RegistryClient => ({
    ...base.get(host),
    headBlob: async () => answer(host, 'blob'),
    headManifest: async () => answer(host, 'manifest'),
  });
  const open = new OpenRepositories({ registries: { ...base, get, allows }, hosts, openWhenDown, logger });
  return { asked, answers, open };
}

function all(answer: Scripted): { blob: Scripted; manifest: Scripted } {
  return { blob: answer, manifest: answer };
}

/** `isOpen`, or that it cannot be said. */
async function verdict(open: OpenRepositories, digest = DIGEST, sources = [ORIGIN]): Promise<boolean | string> {
  try {
    return await open.isOpen(digest, sources, forever);
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    return error.code;
  }
}

test('a blob or manifest that its repository gives this agent is open, and asked for once', async () => {
  for (const answers of [
    { blob: 'fine', manifest: 'NOT_FOUND' },
    { blob: 'NOT_FOUND', manifest: 'fine' },
  ] as const) {
    const { open, asked } = scripted(answers);
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => verdict(open)));
    expect(verdicts.every((is) => is === true)).toBe(true);
    expect(asked.length).toBeLessThanOrEqual(2);
    expect([open.isKnownOpen(DIGEST, [ORIGIN]), open.isKnownOpen(NEXT, [ORIGIN])]).toEqual([true, false]);
  }
});

test('each digest is asked for: a repository that gives one may not have another, whatever a label says', async () => {
  const { open, answers } = scripted(all('fine'));
  expect(await verdict(open)).toBe(true);
  Object.assign(answers, all('NOT_FOUND'));
  expect(await verdict(open, NEXT)).toBe(false);
  expect([open.isClosed(NEXT, [ORIGIN]), open.isClosed(DIGEST, [ORIGIN])]).toEqual([true, false]);
  expect(await verdict(open)).toBe(true);
});

test('one that refuses is closed as a whole, and not asked again; another source may be open', async () => {
  for (const code of ['UPSTREAM_UNAUTHORIZED', 'REGISTRY_DENIED'] as const) {
    const { open, asked } = scripted(all(code));
    expect(open.isClosed(DIGEST, [ORIGIN])).toBe(false);
    expect(await verdict(open)).toBe(false);
    expect([open.isClosed(NEXT, [ORIGIN]), open.isClosed(DIGEST, [ORIGIN, OTHER])]).toEqual([true, false]);
    expect([await verdict(open, NEXT), asked.length]).toEqual([false, 2]);
  }
});

test('what a registry does not have says nothing of the rest of its repository', async () => {
  const { open, answers } = scripted(all('NOT_FOUND'));
  expect(await verdict(open)).toBe(false);
  expect([open.isClosed(DIGEST, [ORIGIN]), open.isClosed(NEXT, [ORIGIN])]).toEqual([true, false]);
  Object.assign(answers, all('fine'));
  expect([await verdict(open, NEXT), await verdict(open)]).toEqual([true, false]);
});

test('one that is not on the list is closed from the beginning, and nobody is asked', async () => {
  const { open, asked } = scripted(all('fine'));
  const denied = [{ registry: 'denied.example', repository: 'a/b' }];
  expect([open.isClosed(DIGEST, denied), await verdict(open, DIGEST, denied), asked]).toEqual([true, false, []]);
});

test('with the registry down, and never an answer, it is as the settings say; asked again soon', async () => {
  useFakeClock();
  for (const openWhenDown of [true, false]) {
    const { open, asked, answers } = scripted(all('down'), { openWhenDown });
    const expected = openWhenDown ? true : 'PEER_BUSY';
    expect([await verdict(open), await verdict(open), await verdict(open, NEXT)]).toEqual(Array(3).fill(expected));
    expect([asked.length, open.isKnownOpen(DIGEST, [ORIGIN])]).toEqual([1, false]);
    Object.assign(answers, all('UPSTREAM_UNAUTHORIZED'));
    vi.advanceTimersByTime(31_000);
    expect(await verdict(open)).toBe(false);
  }
});

test('what was closed stays closed when its registry goes down, however long ago it said so', async () => {
  useFakeClock();
  for (const refusal of ['UPSTREAM_UNAUTHORIZED', 'NOT_FOUND'] as const) {
    const { open, asked, answers } = scripted(all(refusal));
    expect(await verdict(open)).toBe(false);
    Object.assign(answers, all('down'));
    const before = asked.length;
    vi.advanceTimersByTime(30 * DAY_MS);
    expect([await verdict(open), open.isClosed(DIGEST, [ORIGIN])]).toEqual([false, true]);
    expect(asked.length).toBeGreaterThan(before);
  }
});

test('what was open stays open when its registry goes down, also where down is not open', async () => {
  useFakeClock();
  const { open, answers } = scripted(all('fine'), { openWhenDown: false });
  await verdict(open);
  Object.assign(answers, all('down'));
  vi.advanceTimersByTime(2 * DAY_MS);
  expect([await verdict(open), await verdict(open, NEXT)]).toEqual([true, 'PEER_BUSY']);
  expect(open.isKnownOpen(DIGEST, [ORIGIN])).toBe(false);
});

test('a refusal takes back what was open, also when it is old', async () => {
  useFakeClock();
  const { open, answers } = scripted(all('fine'));
  await verdict(open);
  vi.advanceTimersByTime(1000);
  Object.assign(answers, all('UPSTREAM_UNAUTHORIZED'));
  expect([await verdict(open, NEXT), await verdict(open)]).toEqual([false, false]);
  vi.advanceTimersByTime(2 * HOUR_MS);
  Object.assign(answers, all('down'));
  expect(await verdict(open)).toBe(false);
});

test('a registry that is not down, but leaves us unanswered, opens nothing: anybody can bring that about', async () => {
  for (const code of [
    'UPSTREAM_RATE_LIMITED',
    'UPSTREAM_UNAVAILABLE',
    'UPSTREAM_STALLED',
    'UPSTREAM_NONSENSE',
  ] as const) {
    const { open } = scripted(all(code));
    expect([await verdict(open), open.isClosed(DIGEST, [ORIGIN])]).toEqual(['PEER_BUSY', false]);
  }
  const { open } = scripted({ blob: 'NOT_FOUND', manifest: 'nothing' });
  expect(await verdict(open)).toBe('PEER_BUSY');
});

test('a refusal counts for more than another port that is down or says nothing, in any order', async () => {
  const hosts = ['r.local:1', 'r.local:2', 'r.local:3'];
  const source = [{ registry: 'r.local', repository: 'a' }];
  const cases: readonly (readonly [Scripted, Scripted, Scripted, boolean | string])[] = [
    ['UPSTREAM_UNAUTHORIZED', 'down', 'down', 'PEER_BUSY'],
    ['down', 'down', 'UPSTREAM_UNAUTHORIZED', 'PEER_BUSY'],
    ['UPSTREAM_RATE_LIMITED', 'down', 'NOT_FOUND', 'PEER_BUSY'],
    ['down', 'NOT_FOUND', 'NOT_FOUND', true],
    ['NOT_FOUND', 'UPSTREAM_UNAUTHORIZED', 'NOT_FOUND', false],
    ['UPSTREAM_UNAUTHORIZED', 'down', 'fine', true],
  ];
  for (const [one, two, three, expected] of cases) {
    const byHost = { 'r.local:1': one, 'r.local:2': two, 'r.local:3': three };
    const { open } = scripted(all('fine'), { hosts, byHost, allows: (host) => hosts.includes(host) });
    expect([one, two, three, await verdict(open, DIGEST, source)]).toEqual([one, two, three, expected]);
  }
});

test('a port that was only guessed, by a wildcard, opens nothing by being refused', async () => {
  const { open } = scripted(all('down'), { hosts: ['*.local'] });
  expect(await verdict(open, DIGEST, [{ registry: 'r.local', repository: 'a' }])).toBe('PEER_BUSY');
});

test('an open one is asked for again after a day', async () => {
  useFakeClock();
  const { open, asked } = scripted(all('fine'));
  await verdict(open);
  vi.advanceTimersByTime(DAY_MS - 1000);
  await verdict(open);
  expect(asked).toHaveLength(1);
  vi.advanceTimersByTime(2000);
  await verdict(open);
  expect(asked).toHaveLength(2);
});

test('tells when a repository closes and opens, and of a digest that comes and goes', async () => {
  useFakeClock();
  const { open, answers } = scripted(all('UPSTREAM_UNAUTHORIZED'));
  const told: (string | undefined)[] = [];
  open.subscribe((digest) => told.push(digest));
  await verdict(open);
  expect(told).toEqual([undefined]);
  Object.assign(answers, all('fine'));
  vi.advanceTimersByTime(2 * HOUR_MS);
  expect([await verdict(open), open.isClosed(NEXT, [ORIGIN])]).toEqual([true, false]);
  Object.assign(answers, all('NOT_FOUND'));
  await verdict(open, NEXT);
  expect(told).toEqual([undefined, undefined, NEXT]);
});

test('containerd leaves out the port of a registry: those of that host on the list are asked', async () => {
  const listed = ['registry.local:5000', 'registry.local:5001', '[::1]:5000'];
  const { open, asked } = scripted(all('UPSTREAM_UNAUTHORIZED'), {
    hosts: listed,
    allows: (host) => listed.includes(host),
  });
  await verdict(open, DIGEST, [{ registry: 'registry.local', repository: 'a' }]);
  await verdict(open, DIGEST, [{ registry: '::1', repository: 'a' }]);
  expect(asked.filter((what) => what.startsWith('blob'))).toEqual(listed.map((host) => `blob ${host}`));
});

test('nobody waits long for a registry that is slow: who asks later gets the answer', async () => {
  let answer = () => {};
  const slow = new Promise<{ sizeBytes: number }>((resolve) => {
    answer = () => resolve({ sizeBytes: 1 });
  });
  const registries = scriptedRegistries({ headBlob: () => slow });
  const open = new OpenRepositories({ registries, hosts: ['docker.io'], openWhenDown: true, logger });
  expect(await verdict(open)).toBe('PEER_BUSY');
  answer();
  expect(await verdict(open)).toBe(true);
});
