import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ANSWER_MS } from '../../../src/kubernetes/kube-api.ts';
import type { Protocol } from '../../support/fake-kube-api.ts';
import { KubernetesScene, sliceOf } from './kubernetes-scene.ts';

const FAILS = 'discovery: the EndpointSlices cannot be read; the agents known so far stay';
const WORKS = 'discovery: the EndpointSlices can be read again';

describe.each<Protocol>(['HTTP/1.1', 'HTTP/2'])('over %s', (protocol) => {
  let scene: KubernetesScene;
  beforeEach(async () => {
    scene = await KubernetesScene.create(protocol);
    scene.api.set(sliceOf('a', ['10.0.0.1', '10.0.0.2']));
  });
  afterEach(() => scene.dispose());

  const messages = () => scene.lines.map(({ msg }) => msg);
  /** So many requests came, the last one failed, and the next has its time. */
  const asleep = (requests: number, waitMs: number) =>
    scene.until(
      () => scene.api.requests.length === requests && scene.clock.nextInMs === waitMs,
      `${requests} requests, and the next in ${waitMs} ms`,
    );

  describe('an API server that is gone', () => {
    test('for long changes nothing, and is found when it is back', async () => {
      await scene.watching();
      await scene.advance(6_000);
      await scene.api.stop();
      for (let minute = 0; minute < 20; minute += 1) {
        await scene.advance(30_000);
        await scene.until(() => scene.clock.nextInMs !== undefined, 'a next try');
      }
      expect(scene.addresses).toEqual(['10.0.0.1:5052', '10.0.0.2:5052']);
      expect(scene.told).toHaveLength(1);
      expect(messages()).toEqual([FAILS]);

      scene.api.set(sliceOf('a', ['10.0.0.1', '10.0.0.3']));
      await scene.api.listen();
      await scene.passes(() => scene.api.openWatches === 1, 'a watch');
      await scene.toldOf('10.0.0.1', '10.0.0.3');
      expect(messages()).toEqual([FAILS, WORKS]);
    });

    test('when the agent starts keeps it from nothing', async () => {
      await scene.api.stop();
      await scene.start();
      await scene.until(() => scene.lines.length === 1, 'a warning');
      expect(scene.lines[0]?.err?.message).toMatch(/^the API server 127.0.0.1:\d+ cannot be reached: .*ECONNREFUSED/);
      expect(scene.told).toEqual([]);
      await scene.api.listen();
      await scene.advance(500);
      await scene.toldOf('10.0.0.1', '10.0.0.2');
    });

    test.each([
      ['30 s at most', true, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
      ['8 s at most before it ever answered', false, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]],
    ])('is waited for twice as long each time, %s', async (_name, known, waits) => {
      if (known) {
        await scene.watching();
        await scene.advance(6_000);
        scene.api.refusal = { status: 500 };
        scene.api.endWatches();
        await scene.until(() => scene.clock.nextInMs === 250, 'the end of the watch');
        await scene.advance(250);
      } else {
        scene.api.refusal = { status: 500 };
        await scene.start();
      }
      const before = known ? 2 : 0;
      for (const [index, waitMs] of waits.entries()) {
        await asleep(before + index + 1, waitMs);
        await scene.advance(waitMs - 1);
        expect(scene.api.requests).toHaveLength(before + index + 1);
        await scene.advance(1);
      }
      scene.api.refusal = undefined;
      await scene.passes(() => scene.api.openWatches === 1, 'a watch');
      expect(scene.addresses).toHaveLength(2);
    });
  });

  describe('a refusal', () => {
    test('that names a time is not tried before', async () => {
      scene.api.refusal = { status: 429, headers: { 'retry-after': '7' } };
      await scene.start();
      await asleep(1, 7_000);
      await scene.advance(6_999);
      expect(scene.api.requests).toHaveLength(1);
      scene.api.refusal = undefined;
      await scene.advance(1);
      await scene.until(() => scene.addresses?.length === 2, 'two agents');
    });

    test('of the token is tried with what the file has by then', async () => {
      await scene.watching();
      await scene.advance(6_000);
      scene.api.token = 'token-2';
      scene.api.endWatches();
      await scene.until(() => scene.clock.nextInMs === 250, 'the end of the watch');
      await scene.advance(250);
      await asleep(3, 250);
      await scene.advance(250);
      await asleep(4, 500);
      expect(scene.addresses).toEqual(['10.0.0.1:5052', '10.0.0.2:5052']);
      expect(scene.lines.map(({ err }) => err?.message)).toEqual(['the API server answered 401: Unauthorized']);

      await scene.api.writeToken('token-2');
      scene.api.set(sliceOf('a', ['10.0.0.3']));
      await scene.toldOf('10.0.0.3');
      await scene.until(() => messages().length === 2, 'the next watch');
      expect(scene.api.requests.map(({ token }) => token)).toEqual([
        ...['token-1', 'token-1', 'token-1', 'token-1'],
        ...['token-2', 'token-2'],
      ]);
      expect(messages()).toEqual([FAILS, WORKS]);
    });

    test('of the right is explained', async () => {
      scene.api.refusal = { status: 403 };
      await scene.start();
      await scene.until(() => scene.lines.length === 1, 'a warning');
      expect(scene.lines[0]).toMatchObject({
        level: 40,
        hint: 'its service account needs get, list and watch of endpointslices in that namespace',
      });
    });

    test('of another kind is logged again, the same one is not', async () => {
      scene.api.refusal = { status: 500 };
      await scene.start();
      await asleep(1, 250);
      await scene.advance(250);
      await asleep(2, 500);
      expect(messages()).toEqual([FAILS]);
      scene.api.refusal = { status: 503 };
      await scene.advance(500);
      await asleep(3, 1_000);
      expect(messages()).toEqual([FAILS, FAILS]);
    });
  });

  test('a server that takes a request and says nothing is left for the next try', async () => {
    scene.api.isMute = true;
    await scene.start();
    await scene.until(() => scene.api.requests.length === 1, 'a request');
    await scene.advance(ANSWER_MS);
    await scene.until(() => scene.lines.length === 1, 'a warning');
    expect(scene.lines[0]?.err?.message).toMatch(/cannot be reached: nothing heard for 10000 ms/);
    scene.api.isMute = false;
    await scene.advance(250);
    await scene.until(() => scene.addresses?.length === 2, 'two agents');
  });

  test('watches that end at once, again and again, are not begun without end', async () => {
    await scene.watching();
    for (let round = 1; round <= 6; round += 1) {
      const waitMs = 250 * 2 ** (round - 1);
      scene.api.endWatches();
      await scene.until(() => scene.clock.nextInMs === waitMs, 'the end of the watch');
      await scene.advance(waitMs - 1);
      expect(scene.api.watches).toHaveLength(round);
      await scene.advance(1);
      await scene.until(() => scene.api.openWatches === 1, 'the next watch');
    }
  });

  describe('stopped', () => {
    test('it says nothing more, though something was about to be told', async () => {
      await scene.watching();
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      await scene.until(() => scene.clock.nextInMs === 200, 'something to be told');
      await scene.discovery.stop();
      await scene.advance(600_000);
      expect(scene.told).toHaveLength(1);
      expect(scene.clock.nextInMs).toBeUndefined();
      await scene.until(() => scene.api.openWatches === 0, 'the end of the watch');
    });

    test('while it waits, and while it was asking, it ends at once', async () => {
      scene.api.isMute = true;
      await scene.start();
      await scene.until(() => scene.api.requests.length === 1, 'a request');
      await scene.discovery.stop();
      expect(scene.lines).toEqual([]);
      expect(scene.clock.nextInMs).toBeUndefined();
    });
  });
});
