import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { Lab, type LabImage } from './lab/lab.ts';
import type { LabNode } from './lab/lab-node.ts';
import { containerds, labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';
import { MOST_NODES, STRICT } from './lab/size.ts';

const MIB = 1024 * 1024;
/** Longer than a lease. */
const STILL_MS = 6_000;
/** One large blob, so that there is one writer of nearly all of it; where bytes are counted, large enough for two seconds of it to be a tenth. */
const LAYERS = [(STRICT ? 64 : 24) * MIB];

describeWith(
  `deaths during a pull by ${MOST_NODES} nodes: every survivor gets right bytes, upstream gives little more`,
  labMissing,
  () => {
    let lab: Lab;

    beforeAll(async () => {
      // Upstream far below half of a link, and slow enough for two cores that carry all nodes: what is lost with a writer is what its
      // children lag behind.
      lab = await Lab.start({ nodes: MOST_NODES, containerds: containerds(4), nodeRate: 200, upstreamRate: 24 });
      await lab.settled();
      // By code that has run before: of sixteen that never pulled, on two cores, the last comes four seconds after the first, and
      // what the children of a writer at 10% lag behind by is then more than a tenth (1.112).
      const first = await Scene.start(lab, await lab.image({ layerBytes: [MIB] }));
      await first.finish();
      await lab.calm();
    });
    beforeEach(async () => {
      await lab.restore();
      await lab.registry.registry.forget();
    });
    afterEach(async ({ task }) => {
      if (task.result?.state === 'fail') await lab.saveLogs(task.name);
    });
    afterAll(() => lab?.dispose());

    /**
     * Where the agent lived, its client was served to the end by one answer a blob, and no containerd went upstream. A
     * death costs one more request each; what a containerd asked whose own agent died is not among it.
     */
    async function expectFewRequests(scene: Scene, { image, byTag }: LabImage, deaths: number): Promise<void> {
      const { gets, otherBytesOf } = await lab.registry.report(byTag.repository);
      const unserved = scene.survivors
        .map((node) => [node.name, scene.retriesOf(node), otherBytesOf.get(node.host.address) ?? 0] as const)
        .filter(([, retries, bytes]) => retries > 0 || bytes > 0);
      expect(unserved, 'survivors whose client asked again, or whose containerd went upstream').toEqual([]);
      for (const { digest } of image.blobs) expect(gets.get(digest), digest).toBeLessThanOrEqual(1 + deaths);
    }

    /** And in all at most a tenth of the bytes (where processors are short, only the requests are counted). */
    async function expectLittleMore(scene: Scene, image: LabImage, deaths = 1): Promise<void> {
      await expectFewRequests(scene, image, deaths);
      if (!STRICT) return;
      const { agentBytes } = await lab.registry.report(image.byTag.repository);
      const asked = (await lab.registry.registry.requests()).filter(({ method }) => method === 'GET');
      expect(agentBytes / image.image.totalBytes, JSON.stringify(asked)).toBeLessThanOrEqual(1.1);
    }

    /** By that reason, so far, of each that runs: one that dies forgets them. */
    async function takeovers(reason: string): Promise<Map<LabNode, number>> {
      const running = lab.nodes.filter(({ agent }) => agent.running);
      const counted = async (node: LabNode) =>
        [node, await node.agent.metric('windlass_takeovers_total', { reason })] as const;
      return new Map(await Promise.all(running.map(counted)));
    }

    function since(before: ReadonlyMap<LabNode, number>, now: ReadonlyMap<LabNode, number>): number {
      return [...now].reduce((sum, [node, count]) => sum + count - (before.get(node) ?? 0), 0);
    }

    for (const share of [0.1, 0.5, 0.9]) {
      test(`the writer at ${share * 100}%: the right passes on at once`, async () => {
        const image = await lab.image({ layerBytes: LAYERS });
        const silent = await takeovers('silent');
        const broken = await takeovers('broken');
        const scene = await Scene.start(lab, image);
        await scene.upstreamAt(share);
        await scene.kill(await scene.writer());
        await scene.finish();

        await expectLittleMore(scene, image);
        // Nobody waits until the writer was silent for long; where processors are few, one may for a blob beside.
        const atOnce = since(broken, await takeovers('broken'));
        expect(since(silent, await takeovers('silent'))).toBeLessThanOrEqual(Math.min(1, atOnce));
      });
    }

    test('the keeper, when it has just granted', async () => {
      const image = await lab.image({ layerBytes: LAYERS });
      const [keeper] = await keepersOf(image);
      // It does not pull itself, and so is not the writer.
      const scene = await Scene.start(lab, image, { nodes: lab.nodes.filter((node) => node !== keeper) });
      await scene.upstreamAt(0.01);
      if (keeper !== undefined) await scene.kill(keeper);
      await scene.finish();

      await expectLittleMore(scene, image);
    });

    test.each([
      ['dies', (keeper: LabNode) => keeper.agent.kill()],
      ['stands still for some seconds', (keeper: LabNode) => standStill(keeper)],
    ])('the keeper %s when all have had their seats for long: whoever comes then reads', async (_, befalls) => {
      const image = await lab.image({ layerBytes: LAYERS });
      const [keeper] = await keepersOf(image);
      const pulling = lab.nodes.filter((node) => node !== keeper);
      // Its containerd would go upstream for the manifest while the keeper of that stands still.
      const late = pulling.find((node) => node.containerd === undefined);
      const scene = await Scene.start(lab, image, { nodes: pulling.filter((node) => node !== late) });
      await scene.upstreamAt(0.9);
      const over = keeper === undefined ? undefined : befalls(keeper);
      const comes = await Scene.start(lab, image, { nodes: late === undefined ? [] : [late], byDigest: () => true });
      await Promise.all([scene.finish(), comes.finish(), over]);

      await expectFewRequests(scene, image, 0);
      expect(comes.askedAgain).toEqual([]);
    });

    test('keeper and writer at once', async () => {
      for (;;) {
        const image = await lab.image({ layerBytes: LAYERS });
        const [keeper] = await keepersOf(image);
        const scene = await Scene.start(lab, image);
        await scene.upstreamAt(0.3);
        const writer = await scene.writer();
        if (keeper !== undefined && keeper !== writer) {
          await scene.kill(writer, keeper);
          await scene.finish();
          await expectLittleMore(scene, image, 2);
          return;
        }
        // One node is both: another image.
        await scene.finish();
      }
    });

    test('a relay, with children below it', async () => {
      const image = await lab.image({ layerBytes: LAYERS });
      const scene = await Scene.start(lab, image);
      await scene.upstreamAt(0.3);
      await scene.kill(await scene.relay());
      await scene.finish();

      await expectLittleMore(scene, image);
    });

    test("the writer's network goes silent, without FIN", async () => {
      const image = await lab.image({ layerBytes: LAYERS });
      const scene = await Scene.start(lab, image);
      await scene.upstreamAt(0.3);
      const writer = await scene.writer();
      scene.giveUp(writer);
      await writer.cut();
      await scene.finish();

      await expectLittleMore(scene, image);
    });

    test('a third of them, one after the other', async () => {
      const image = await lab.image({ layerBytes: LAYERS });
      const scene = await Scene.start(lab, image);
      const live = [...lab.nodes];
      const shares = [0.1, 0.25, 0.4, 0.55, 0.7].slice(0, Math.floor(MOST_NODES / 3));
      for (const share of shares) {
        await scene.upstreamAt(share);
        const [node] = live.splice(Math.floor(Math.random() * live.length), 1);
        if (node !== undefined) await scene.kill(node);
      }
      await scene.finish();

      await expectLittleMore(scene, image, shares.length);
    });

    /** As a machine that is suspended: it takes what comes, and says nothing. */
    async function standStill({ agent }: LabNode): Promise<void> {
      process.kill(agent.pid, 'SIGSTOP');
      await sleep(STILL_MS);
      process.kill(agent.pid, 'SIGCONT');
    }

    function keepersOf({ image }: LabImage): Promise<LabNode[]> {
      return lab.keepers(`blob:${image.layers[0]?.digest}`);
    }
  },
);
