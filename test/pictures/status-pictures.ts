import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { buildImage, type DemoImage } from '../../src/demo/image.ts';
import { DemoRegistry } from '../../src/demo/registry.ts';
import type { AgentStatus } from '../../src/status/agent-status.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { openPage } from '../support/chromium.ts';
import { eventually } from '../support/eventually.ts';
import type { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const NODES = 6;
/** What is pulled one after another, so that there is something to look back at. */
const EARLIER = [
  'library/redis',
  'library/postgres',
  'team/checkout',
  'library/nginx',
  'team/search',
  'library/alpine',
];
const PAUSE_MS = 22_000;
/** What is on its way when the pictures are taken. */
const NOW = 'team/recommendations';

/**
 * A small cluster that pulls for some minutes; then the page of a node in the middle of the tree.
 * @returns the pictures' paths.
 */
export async function statusPictures(browser: Browser, folder: string, scratch: Scratch): Promise<string[]> {
  const images = new Map(EARLIER.map((name, index) => [name, buildImage([2, 5 + index * 3, 11 - index], name)]));
  images.set(NOW, buildImage([56, 72, 88], NOW));
  const registry = new DemoRegistry({
    repositories: [...images].map(([repository, image]) => ({ repository, image, tag: '1' })),
    bytesPerSecond: 8 * MIB,
  });
  const url = await registry.start();
  scratch.defer(() => registry.stop());
  const cluster = await AgentCluster.start(scratch, {
    agents: NODES,
    registries: { 'docker.io': url },
    settings: { tags: { maxAge: '1h' }, store: { maxSize: '2GiB' } },
    settingsOf: (index) => ({ node: { name: `node-${index + 1}`, zone: `eu-west-1${'abc'[index % 3]}` } }),
  });
  for (const name of EARLIER) {
    await Promise.all(cluster.agents.map((agent) => pull(agent, name, images.get(name))));
    // Pods are started again.
    await Promise.all(cluster.agents.map((agent) => pull(agent, EARLIER[0] ?? '', images.get(EARLIER[0] ?? ''))));
    await sleep(PAUSE_MS);
  }
  const pulls = cluster.agents.map((agent) => pull(agent, NOW, images.get(NOW)));
  const agent = await eventually(() => inTheMiddle(cluster.agents), { timeoutMs: 60_000, what: 'a relay' });
  const shots = [
    { name: 'status-light', options: { colorScheme: 'light', viewport: { width: 1280, height: 1000 } } },
    { name: 'status-dark', options: { colorScheme: 'dark', viewport: { width: 1280, height: 1000 } } },
    { name: 'status-phone', options: { colorScheme: 'light', viewport: { width: 390, height: 844 } } },
  ] as const;
  const pages = await Promise.all(
    shots.map(async ({ name, options }) => ({ name, ...(await openPage(browser, agent.statusUrl, options)) })),
  );
  await Promise.all(pages.map(({ page }) => page.locator('svg.tree').first().waitFor()));
  await sleep(1_500); // bars move for a second
  const paths: string[] = [];
  for (const { name, page } of pages) {
    const path = `${folder}${name}.png`;
    await page.screenshot({ path, fullPage: name !== 'status-phone' });
    paths.push(path);
  }
  await Promise.all(pulls);
  return paths;
}

/** The agent that reads most blobs from others and passes most on. */
async function inTheMiddle(agents: readonly AgentProcess[]): Promise<AgentProcess | undefined> {
  const weights = await Promise.all(
    agents.map(async (agent) => {
      const { transfers } = (await (await fetch(`${agent.statusUrl}/status`)).json()) as AgentStatus;
      const written = transfers.every((transfer) => transfer.written > 4 * MIB) && transfers.length >= 3;
      const relayed = transfers.filter(({ source, children }) => source === 'peer' && children > 0);
      return { agent, weight: written ? relayed.length : 0 };
    }),
  );
  const best = weights.reduce((a, b) => (b.weight > a.weight ? b : a));
  return best.weight > 0 ? best.agent : undefined;
}

async function pull(agent: AgentProcess, repository: string, image: DemoImage | undefined): Promise<void> {
  if (image === undefined) throw new Error(`no image ${repository}`);
  const get = async (path: string) => {
    const response = await fetch(`${agent.mirrorUrl}/v2/${repository}/${path}?ns=docker.io`);
    await response.body?.pipeTo(new WritableStream());
  };
  for (const reference of ['1', image.index.digest, image.manifest.digest]) await get(`manifests/${reference}`);
  await Promise.all(image.blobs.map(({ digest }) => get(`blobs/${digest}`)));
}
