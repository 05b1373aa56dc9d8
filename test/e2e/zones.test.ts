import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { AgentStatus } from '../../src/status/agent-status.ts';
import { eventually } from '../support/eventually.ts';
import { describeWith } from '../support/requires.ts';
import { expectOnce } from './lab/expect-once.ts';
import { Lab } from './lab/lab.ts';
import type { LabNode } from './lab/lab-node.ts';
import { labMissing } from './lab/requirements.ts';
import { Scene } from './lab/scene.ts';

const MIB = 1024 * 1024;
const ZONES = ['east', 'north', 'west'];
const NODES = 2 * ZONES.length;
/** Each more than the smaller ones twice, which is how often two nodes could import them: their sum says which came how often. */
const LAYERS = [9 * MIB, 3 * MIB, MIB];
/** What a reader may get twice when it changes its parent: a piece or two; less than the smallest layer. */
const TWICE = MIB / 2;
/** Pulls, until one was not disturbed. */
const MOST_PULLS = 5;

/** Bytes from other agents, by where those are. */
type Received = Record<'same' | 'other' | 'unknown', number>;

describeWith(
  `${NODES} nodes in ${ZONES.length} zones: what is imported into a zone is imported once`,
  labMissing,
  () => {
    let lab: Lab;

    beforeAll(async () => {
      // Upstream far below a link: all ask for a blob while it is being written.
      lab = await Lab.start({
        nodes: NODES,
        nodeRate: 200,
        upstreamRate: 12,
        settings: (node) => ({ node: { zone: ZONES[node % ZONES.length] } }),
      });
      await lab.settled();
      await lab.calm();
    });
    beforeEach(() => lab.registry.registry.forget());
    afterEach(async ({ task }) => {
      if (task.result?.state === 'fail') await lab.saveLogs(`zones ${task.name}`);
    });
    afterAll(() => lab?.dispose());

    test("all pull at once: upstream gives it once, and each blob crosses once into each zone but its writer's", async () => {
      const blamed = () => lab.metric('windlass_peer_blamed_total');
      const pull = async () => {
        const wanted = await lab.image({ layerBytes: LAYERS });
        const [before, blamedBefore] = [await received(), await blamed()];
        await (await Scene.start(lab, wanted)).finish();
        return { image: wanted.image, before, disturbed: (await blamed()) > blamedBefore };
      };
      // Where processors are short, a parent looks slow, and who leaves it may import: such a pull shows nothing.
      let { image, before, disturbed } = await pull();
      for (let pulls = 1; disturbed && pulls < MOST_PULLS; pulls += 1) ({ image, before, disturbed } = await pull());

      expect(disturbed, 'somebody was blamed').toBe(false);
      expectOnce(await lab.registry.report(), [image]);
      const writers = await zonesOfWriters();
      const now = await received();
      for (const zone of ZONES) {
        const imported = image.layers.filter(({ digest }) => writers.get(digest) !== zone);
        const crossed = since(before, now, zone, 'other');
        expect(crossed, zone).toBeGreaterThanOrEqual(bytesOf(imported));
        expect(crossed, zone).toBeLessThan(bytesOf(imported) + TWICE);
        // And one of its two nodes has each from the other one.
        expect(since(before, now, zone, 'same'), zone).toBeGreaterThanOrEqual(bytesOf(image.layers));
        expect(since(before, now, zone, 'unknown'), zone).toBe(0);
      }
    });

    test("the importer's parent in another zone killed in the middle: all others have it, and little comes twice", async () => {
      const wanted = await lab.image({ layerBytes: [40 * MIB] });
      const { image } = wanted;
      const before = await received();
      const scene = await Scene.start(lab, wanted);
      await scene.upstreamAt(0.4);
      const { importer, parent } = await eventually(() => importOf(image.layers[0]?.digest), {
        what: 'a node that imports the blob',
      });
      const broken = await importer.agent.metric('windlass_peer_blamed_total', { reason: 'broken' });
      await scene.kill(parent);
      await scene.finish();

      expect(await importer.agent.metric('windlass_peer_blamed_total', { reason: 'broken' })).toBeGreaterThan(broken);
      const { agentBytes, otherBytes } = await lab.registry.report();
      expect(agentBytes / image.totalBytes).toBeLessThanOrEqual(1.1);
      expect(otherBytes).toBe(0);
      const now = await received();
      for (const zone of ZONES.filter((other) => other !== zoneOf(parent))) {
        expect(since(before, now, zone, 'other') / image.totalBytes, zone).toBeLessThanOrEqual(1.1);
      }
    });

    function zoneOf(node: LabNode): string {
      return ZONES[lab.nodes.indexOf(node) % ZONES.length] ?? '';
    }

    /** Of each zone, by all of its agents that run. */
    async function received(): Promise<ReadonlyMap<string, Received>> {
      const sums = new Map(ZONES.map((zone) => [zone, { same: 0, other: 0, unknown: 0 }]));
      for (const node of lab.nodes.filter(({ agent }) => agent.running)) {
        const sum = sums.get(zoneOf(node));
        for (const zone of ['same', 'other', 'unknown'] as const) {
          if (sum !== undefined) sum[zone] += await node.agent.metric('windlass_peer_received_bytes_total', { zone });
        }
      }
      return sums;
    }

    /** Where the agent is that got a blob from upstream. */
    async function zonesOfWriters(): Promise<ReadonlyMap<string, string>> {
      const byAddress = new Map(lab.nodes.map((node) => [node.host.address, zoneOf(node)]));
      const gets = (await lab.registry.registry.requests()).filter(({ method }) => method === 'GET');
      return new Map(
        gets.map(({ path, remoteAddress }) => [
          path.slice(path.lastIndexOf('/') + 1),
          byAddress.get(remoteAddress) ?? remoteAddress,
        ]),
      );
    }

    /** A node that reads the blob from one of another zone just now. */
    async function importOf(digest: Digest | undefined): Promise<{ importer: LabNode; parent: LabNode } | undefined> {
      for (const importer of lab.nodes) {
        const { transfers } = (await (await fetch(`${importer.agent.statusUrl}/status`)).json()) as AgentStatus;
        const from = transfers.find((transfer) => transfer.digest === digest)?.from ?? [];
        const parent = lab.nodes.find((node) => from.includes(node.name) && zoneOf(node) !== zoneOf(importer));
        if (parent !== undefined) return { importer, parent };
      }
      return undefined;
    }
  },
);

function since(
  before: ReadonlyMap<string, Received>,
  now: ReadonlyMap<string, Received>,
  zone: string,
  from: keyof Received,
): number {
  return (now.get(zone)?.[from] ?? 0) - (before.get(zone)?.[from] ?? 0);
}

function bytesOf(blobs: readonly { readonly bytes: Buffer }[]): number {
  return blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
