import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SILENT_MS } from '../../../src/discovery/slice-requests.ts';
import type { Protocol } from '../../support/fake-kube-api.ts';
import { endpointOf, KubernetesScene, sliceOf } from './kubernetes-scene.ts';

const LEAVING = { ready: true, serving: false, terminating: true };

describe.each<Protocol>(['HTTP/1.1', 'HTTP/2'])('over %s', (protocol) => {
  let scene: KubernetesScene;
  beforeEach(async () => {
    scene = await KubernetesScene.create(protocol);
  });
  afterEach(() => scene.dispose());

  describe('what is there', () => {
    test('is listed, with zone and node, this agent itself among it', async () => {
      scene.api.set(sliceOf('s4', ['10.0.0.1', '10.0.0.2']));
      scene.api.set(sliceOf('s6', ['fd00::1']));
      await scene.watching();
      expect(scene.told).toEqual([
        [
          { address: '10.0.0.1:5052', nodeName: 'n1', zone: 'a', self: true },
          { address: '10.0.0.2:5052', nodeName: 'n2', zone: 'b' },
          { address: '[fd00::1]:5052', nodeName: 'n1', zone: 'a' },
        ],
      ]);
      expect(scene.lines).toEqual([]);
    });

    test('is asked for without anything that needs more than get, list and watch of these slices', async () => {
      await scene.watching();
      expect(scene.api.requests.map(({ query }) => query)).toEqual([
        { labelSelector: 'kubernetes.io/service-name=windlass-peers', limit: '250' },
        {
          labelSelector: 'kubernetes.io/service-name=windlass-peers',
          watch: 'true',
          allowWatchBookmarks: 'true',
          resourceVersion: '100',
          timeoutSeconds: '450',
        },
      ]);
    });

    test('is listed page by page', async () => {
      scene.api.pageSize = 2;
      for (const number of [1, 2, 3, 4, 5]) scene.api.set(sliceOf(`s${number}`, [`10.0.0.${number}`]));
      await scene.watching();
      expect(scene.addresses).toHaveLength(5);
      expect(scene.api.lists.map(({ query }) => query.continue)).toEqual([undefined, '2', '4']);
    });

    test('is no news while it is nobody', async () => {
      await scene.watching();
      await scene.advance(10_000);
      expect(scene.told).toEqual([]);
      scene.api.set(sliceOf('s', ['10.0.0.1']));
      await scene.toldOf('10.0.0.1');
    });
  });

  describe('a change', () => {
    beforeEach(async () => {
      scene.api.set(sliceOf('a', ['10.0.0.1', '10.0.0.2']));
      await scene.watching();
    });

    test('reaches the listener within 2 s: a slice added, changed, deleted', async () => {
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.3');
      scene.api.set(sliceOf('b', ['10.0.0.4']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.4');
      scene.api.remove('b');
      await scene.toldOf('10.0.0.1', '10.0.0.2');
      expect(scene.api.lists).toHaveLength(1);
      expect(scene.api.watches).toHaveLength(1);
    });

    test('that changes nothing for agents is not told', async () => {
      scene.api.set(sliceOf('a', ['10.0.0.2', '10.0.0.1']));
      scene.api.set(sliceOf('b', []));
      scene.api.set(sliceOf('c', ['10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.3');
      expect(scene.told).toHaveLength(2);
    });

    test('that moves an endpoint to another slice, by two events, is none', async () => {
      scene.api.set(sliceOf('a', ['10.0.0.1']));
      scene.api.set(sliceOf('b', ['10.0.0.2', '10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.3');
      expect(scene.told).toHaveLength(2);
    });

    test('to terminating is told 60 s later, without another event', async () => {
      const endpoints = [endpointOf('10.0.0.1'), endpointOf('10.0.0.2', LEAVING)];
      scene.api.set(sliceOf('a', [], { endpoints }));
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.3');
      await scene.advance(57_000);
      expect(scene.addresses).toHaveLength(3);
      await scene.advance(3_000);
      expect(scene.addresses).toEqual(['10.0.0.1:5052', '10.0.0.3:5052']);
    });

    test('that the listener throws at ends nothing: it is said, and told again with the next', async () => {
      let fault: Error | undefined = new Error('of the listener');
      const told: number[] = [];
      await scene.discovery.stop();
      const other = scene.another();
      await other.start((candidates) => {
        if (candidates.length > 2 && fault !== undefined) throw fault;
        told.push(candidates.length);
      });
      await scene.until(() => scene.api.openWatches === 1 && told.length === 1, 'a watch');
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      const said = 'discovery: a change of the EndpointSlices could not be told';
      await scene.passes(() => scene.lines.some(({ msg }) => msg === said), 'a word of it');
      fault = undefined;
      scene.api.set(sliceOf('c', []));
      await scene.passes(() => told.length === 2, 'the change');
      expect(told).toEqual([2, 3]);
      expect(scene.api.lists).toHaveLength(2);
      await other.stop();
      await other.stop();
    });

    test('of a kind that is not known is left out, and the rest is read on', async () => {
      scene.api.send('{"type":"NEW_KIND","object":{"metadata":{"name":"b","resourceVersion":"101"}}}\n\n');
      scene.api.set(sliceOf('c', ['10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.2', '10.0.0.3');
      expect(scene.api.lists).toHaveLength(1);
    });
  });

  describe('a watch that is over', () => {
    beforeEach(async () => {
      scene.api.set(sliceOf('a', ['10.0.0.1']));
      await scene.watching();
      // A watch that was over at once would count as a failure.
      await scene.advance(6_000);
    });
    const again = async () => {
      await scene.until(() => scene.clock.nextInMs === 250, 'the end of the watch, noticed');
      expect(scene.api.watches).toHaveLength(1);
      await scene.advance(250);
      await scene.until(() => scene.api.watches.length > 1, 'another watch');
    };

    test('in order is followed by another, from where it came to, without a list', async () => {
      scene.api.set(sliceOf('b', ['10.0.0.2']));
      await scene.toldOf('10.0.0.1', '10.0.0.2');
      scene.api.endWatches();
      await again();
      expect(scene.api.watches.map(({ query }) => query.resourceVersion)).toEqual(['101', '102']);
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      await scene.toldOf('10.0.0.1', '10.0.0.3');
      expect(scene.api.lists).toHaveLength(1);
      expect(scene.lines).toEqual([]);
    });

    test('in the middle of a line loses nothing', async () => {
      await scene.api.cutWatchesWithin(sliceOf('b', ['10.0.0.2']));
      await again();
      await scene.toldOf('10.0.0.1', '10.0.0.2');
      expect(scene.api.lists).toHaveLength(1);
      expect(scene.lines).toEqual([]);
    });

    test('goes on from a bookmark, though all before it is forgotten', async () => {
      scene.api.bookmark();
      // Something behind it, so that it is known to have come.
      scene.api.set(sliceOf('b', ['10.0.0.2']));
      await scene.toldOf('10.0.0.1', '10.0.0.2');
      scene.api.bookmark();
      scene.api.forget();
      const { version } = scene.api;
      scene.api.endWatches();
      await again();
      expect(scene.api.watches.at(-1)?.query.resourceVersion).toBe(String(version));
      expect(scene.api.lists).toHaveLength(1);
    });

    test.each(['status', 'event'] as const)(
      'and cannot go on (410 as %s) is followed by a list at once',
      async (gone) => {
        scene.api.gone = gone;
        scene.api.areWatchesSilent = true;
        scene.api.remove('a');
        scene.api.set(sliceOf('b', ['10.0.0.2']));
        scene.api.forget();
        scene.api.areWatchesSilent = false;
        scene.api.endWatches();
        await scene.until(() => scene.api.openWatches === 0, 'the end of the watch');
        await scene.toldOf('10.0.0.2');
        expect(scene.api.lists).toHaveLength(2);
        await scene.until(() => scene.api.openWatches === 1, 'a watch');
        scene.api.set(sliceOf('b', ['10.0.0.3']));
        await scene.toldOf('10.0.0.3');
        expect(scene.lines).toEqual([]);
      },
    );

    test('because nothing is heard of it is left, and what it kept back is told by the next', async () => {
      await scene.advance(SILENT_MS - 10_000);
      scene.api.bookmark();
      scene.api.set(sliceOf('b', ['10.0.0.2']));
      await scene.toldOf('10.0.0.1', '10.0.0.2');
      scene.api.areWatchesSilent = true;
      scene.api.set(sliceOf('b', ['10.0.0.3']));
      await scene.advance(SILENT_MS - 3_000);
      expect(scene.api.watches).toHaveLength(1);
      scene.api.areWatchesSilent = false;
      await scene.advance(3_000);
      await scene.until(() => scene.api.watches.length === 1, 'no watch at once');
      await scene.toldOf('10.0.0.1', '10.0.0.3');
      expect(scene.api.watches).toHaveLength(2);
      expect(scene.api.lists).toHaveLength(1);
    });

    test('because it is no JSON is followed by a list', async () => {
      scene.api.send('<html>\n');
      await scene.until(() => scene.lines.length === 1, 'a warning');
      expect(scene.lines[0]?.err?.message).toMatch(/^the API server sent a line that is no JSON/);
      await scene.advance(250);
      await scene.until(() => scene.api.lists.length === 2 && scene.api.openWatches === 1, 'a list and a watch');
    });
  });
});
