import { afterEach, expect, test, vi } from 'vitest';
import { type ErrorCode, WindlassError } from '../../../src/errors.ts';
import { OpenRepositories } from '../../../src/pull/open-repositories.ts';
import type { RegistryClient } from '../../../src/upstream/registry-client.ts';
import {
  failOnUnhandledRejections,
  failureOf,
  forever,
  logger,
  ORIGIN,
  OTHER,
  scriptedRegistries,
} from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

failOnUnhandledRejections();
afterEach(() => void vi.useRealTimers());

const DIGEST = digestOf(Buffer.from('layer'));
const DAY_MS = 24 * 3_600_000;

function useFakeClock(): void {
  vi.useFakeTimers({ toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout'] });
  // At 0 lru-cache has no time.
  vi.advanceTimersByTime(10);
}

/** Registries whose answers to HEAD of a blob and of a manifest are a code, or fine. */
function scripted(answers: { blob: ErrorCode | 'fine'; manifest: ErrorCode | 'fine' }, openWhenDown = true) {
  const asked: string[] = [];
  const answer = (kind: 'blob' | 'manifest', repository: string) => {
    asked.push(`${kind} ${repository}`);
    if (answers[kind] !== 'fine') throw new WindlassError(answers[kind], kind);
    return { digest: undefined, contentType: undefined, sizeBytes: 1 };
  };
  const client: Partial<RegistryClient> = {
    headBlob: async (repository) => answer('blob', repository),
    headManifest: async (repository) => answer('manifest', repository),
  };
  const registries = scriptedRegistries(client);
  return { asked, answers, open: new OpenRepositories({ registries, hosts: [], openWhenDown, logger }) };
}

test('a repository that has the blob, or the manifest, for this agent is open, and asked once', async () => {
  for (const answers of [
    { blob: 'fine', manifest: 'NOT_FOUND' },
    { blob: 'NOT_FOUND', manifest: 'fine' },
  ] as const) {
    const { open, asked } = scripted(answers);
    const all = await Promise.all(Array.from({ length: 50 }, () => open.isOpen(DIGEST, [ORIGIN], forever)));
    expect(all.every(Boolean)).toBe(true);
    expect(asked.length).toBeLessThanOrEqual(2);
  }
});

test('one that refuses, or does not have it, is closed; another source may be open', async () => {
  for (const code of ['UPSTREAM_UNAUTHORIZED', 'NOT_FOUND', 'REGISTRY_DENIED'] as const) {
    const { open } = scripted({ blob: code, manifest: code });
    expect(open.areClosed([ORIGIN])).toBe(false);
    expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(false);
    expect([open.areClosed([ORIGIN]), open.areClosed([ORIGIN, OTHER])]).toEqual([true, false]);
  }
});

test('one that is not on the list is closed, and nobody is asked', async () => {
  const { open, asked } = scripted({ blob: 'fine', manifest: 'fine' });
  expect(await open.isOpen(DIGEST, [{ registry: 'denied.example', repository: 'a/b' }], forever)).toBe(false);
  expect(asked).toEqual([]);
});

test('with the registry down it is as the settings say, and asked again soon', async () => {
  useFakeClock();
  for (const openWhenDown of [true, false]) {
    const { open, asked, answers } = scripted({ blob: 'UPSTREAM_UNAVAILABLE', manifest: 'fine' }, openWhenDown);
    expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(openWhenDown);
    expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(openWhenDown);
    expect(asked).toHaveLength(1);
    answers.blob = 'UPSTREAM_UNAUTHORIZED';
    answers.manifest = 'UPSTREAM_UNAUTHORIZED';
    vi.advanceTimersByTime(31_000);
    expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(false);
  }
});

test('one that leaves us unanswered by 429 is not open: anybody can bring that about', async () => {
  const { open } = scripted({ blob: 'UPSTREAM_RATE_LIMITED', manifest: 'UPSTREAM_RATE_LIMITED' });
  expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(false);
  expect(open.areClosed([ORIGIN])).toBe(false);
});

test('an open one is asked again after a day', async () => {
  useFakeClock();
  const { open, asked } = scripted({ blob: 'fine', manifest: 'fine' });
  await open.isOpen(DIGEST, [ORIGIN], forever);
  vi.advanceTimersByTime(DAY_MS - 1000);
  await open.isOpen(DIGEST, [ORIGIN], forever);
  expect(asked).toHaveLength(1);
  vi.advanceTimersByTime(2000);
  await open.isOpen(DIGEST, [ORIGIN], forever);
  expect(asked).toHaveLength(2);
});

test('containerd leaves out the port of a registry: those of that host on the list are asked', async () => {
  const asked: string[] = [];
  const registries = scriptedRegistries({});
  const { get } = registries;
  const listed = ['registry.local:5000', 'registry.local:5001', '[::1]:5000'];
  const open = new OpenRepositories({
    registries: {
      ...registries,
      allows: (host) => listed.includes(host),
      get: (host) => {
        asked.push(host);
        return { ...get(host), headBlob: async () => Promise.reject(new WindlassError('NOT_FOUND', host)) };
      },
    },
    hosts: listed,
    openWhenDown: true,
    logger,
  });
  await open.isOpen(DIGEST, [{ registry: 'registry.local', repository: 'a' }], forever);
  await open.isOpen(DIGEST, [{ registry: '::1', repository: 'a' }], forever);
  expect(asked).toEqual(listed);
});

test('nobody waits long for a registry that is slow: who asks later gets the answer', async () => {
  let answer = () => {};
  const slow = new Promise<{ sizeBytes: number }>((resolve) => {
    answer = () => resolve({ sizeBytes: 1 });
  });
  const registries = scriptedRegistries({ headBlob: () => slow });
  const open = new OpenRepositories({ registries, hosts: [], openWhenDown: true, logger });
  expect(await failureOf(open.isOpen(DIGEST, [ORIGIN], forever))).toMatchObject({ code: 'PEER_BUSY' });
  answer();
  expect(await open.isOpen(DIGEST, [ORIGIN], forever)).toBe(true);
});
