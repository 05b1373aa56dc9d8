import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { KEEPERS } from '../../src/routing/roster.ts';
import { builtContainerd } from '../support/containerd-binaries.ts';
import { seededBytes } from '../support/image.ts';
import { describeWith } from '../support/requires.ts';
import { expectOnce } from './lab/expect-once.ts';
import { Lab } from './lab/lab.ts';
import { containerds, labMissing, usable } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { MOST_NODES, rateScale } from './lab/size.ts';

const MIB = 1024 * 1024;
/** 100 MiB in six. */
const SIX_LAYERS = [40 * MIB, 25 * MIB, 15 * MIB, 10 * MIB, 8 * MIB, 2 * MIB];
/** Two cores carry all nodes: more, and they would be short of processors instead of bytes. */
const UPSTREAM_MBIT = 50;
/** A node whose containerd (2.3) fetches layers so. */
const IN_CHUNKS = 3;
const SMALL = [6 * MIB, 4 * MIB, 3 * MIB, 2 * MIB, MIB, 50_000];

for (const nodes of [16, 8, 4].filter((count) => count <= MOST_NODES)) {
  describeWith(`${nodes} nodes pull what nobody has seen: upstream gives it once`, labMissing, () => {
    let lab: Lab;

    beforeAll(async () => {
      lab = await Lab.start({
        nodes,
        containerds: containerds(4),
        inChunks: (node) => node === IN_CHUNKS,
        nodeRate: 400,
        upstreamRate: UPSTREAM_MBIT * rateScale(nodes),
      });
      await lab.settled();
      await lab.calm();
    });
    beforeEach(() => lab.registry.registry.forget());
    afterEach(async ({ task }) => {
      if (task.result?.state === 'fail') await lab.saveLogs(`${nodes} ${task.name}`);
    });
    afterAll(() => lab?.dispose());

    test('6 layers of 100 MiB, all at once', async () => {
      // What a direct pull puts on the wire for each byte of a body.
      const calibration = await lab.image({ layerBytes: SMALL });
      const before = await lab.upstreamSent();
      await lab.node(0).containerd?.pull(lab.directName(calibration));
      const perByte = ((await lab.upstreamSent()) - before) / calibration.image.totalBytes;
      const image = await lab.image({ layerBytes: SIX_LAYERS });
      const sent = await lab.upstreamSent();

      const { agent: asked } = lab.node(IN_CHUNKS);
      const requests = await asked.metric('windlass_mirror_requests_total', { kind: 'blob' });

      const scene = await Scene.start(lab, image);
      await scene.finish();

      expectOnce(await lab.registry.report(), [image.image]);
      expect(scene.askedAgain).toEqual([]);
      const more = (await asked.metric('windlass_mirror_requests_total', { kind: 'blob' })) - requests;
      if (usable(builtContainerd()) !== undefined) expect(more).toBeGreaterThan(2 * image.image.blobs.length);
      const onWire = ((await lab.upstreamSent()) - sent) / perByte / image.image.totalBytes;
      expect(onWire).toBeGreaterThan(0.92);
      expect(onWire).toBeLessThan(1.08);

      // And whom other tests take for its keeper, or its deputies, is who granted.
      const key = `blob:${image.image.layers[0]?.digest}`;
      const granted = lab.nodes.filter(({ agent }) =>
        agent.logs().some((line) => line.msg === 'granted' && line.key === key),
      );
      expect(granted).not.toEqual([]);
      expect((await lab.keepers(key)).slice(0, KEEPERS)).toEqual(expect.arrayContaining(granted));
    });

    test('one after the other within 5 s, by tag and by digest', async () => {
      // Where that does not take a minute.
      const image = await lab.image({ layerBytes: rateScale(nodes) === 1 ? SIX_LAYERS : SMALL });

      const scene = await Scene.start(lab, image, { staggerMs: 5000 / nodes, byDigest: (node) => node % 2 === 1 });
      await scene.finish();

      expectOnce(await lab.registry.report(), [image.image]);
      expect(scene.askedAgain).toEqual([]);
    });

    test('two images that share layers, both by all', async () => {
      const layers = (names: readonly string[]) =>
        names.map((name) => [{ path: `data/${name}`, bytes: seededBytes(`${nodes} shared ${name}`, 3 * MIB) }]);
      const first = await lab.image({ layerFiles: layers(['a', 'b', 'c', 'd']) });
      const second = await lab.image({ layerFiles: layers(['c', 'd', 'e', 'f']) });

      const scenes = await Promise.all([Scene.start(lab, first), Scene.start(lab, second)]);
      await Promise.all(scenes.map((scene) => scene.finish()));

      expectOnce(await lab.registry.report(), [first.image, second.image]);
      expect(scenes.flatMap((scene) => scene.askedAgain)).toEqual([]);
    });

    test('a rolling update: of v2 only what v1 had not', async () => {
      const layers = (names: readonly string[]) =>
        names.map((name) => [{ path: `data/${name}`, bytes: seededBytes(`${nodes} update ${name}`, 4 * MIB) }]);
      const old = await lab.image({ layerFiles: layers(['a', 'b', 'c', 'd']) });
      const update = await lab.image({ layerFiles: layers(['a', 'b', 'x', 'y']), seed: 'v2' });
      await (await Scene.start(lab, old)).finish();
      await lab.registry.registry.forget();

      const scene = await Scene.start(lab, update);
      await scene.finish();

      expect(scene.askedAgain).toEqual([]);
      const report = await lab.registry.report();
      const held = new Set(old.image.blobs.map(({ digest }) => digest));
      const fresh = update.image.blobs.filter(({ digest }) => !held.has(digest));
      for (const { digest } of fresh) expect(report.gets.get(digest), digest).toBe(1);
      for (const digest of held) expect(report.gets.get(digest), digest).toBeUndefined();
      const bytes = fresh.reduce((sum, blob) => sum + blob.bytes.length, update.image.top.bytes.length);
      expect(report.agentBytes).toBe(bytes);
    });
  });
}
