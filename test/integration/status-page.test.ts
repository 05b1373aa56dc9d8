import { fastify } from 'fastify';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildImage, type DemoImage } from '../../src/demo/image.ts';
import { DemoRegistry } from '../../src/demo/registry.ts';
import type { AgentStatus, HistorySample, RecentPull } from '../../src/status/agent-status.ts';
import { EventStream } from '../../src/status/event-stream.ts';
import { addPageRoutes } from '../../src/status/page-routes.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { seriousFaults } from '../support/axe.ts';
import { chromiumMissing, openPage, startChromium, type Watched } from '../support/chromium.ts';
import { eventually } from '../support/eventually.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const HOST = 'registry.example';
const MIB = 1024 * 1024;
/** As the registry writes it. */
const CHUNK_BYTES = 128 * 1024;
/** A machine that is short of CPU draws late. */
const PATIENT = { timeoutMs: 90_000, everyMs: 100 };
const HOSTILE = `<img src=x onerror="document.title='owned'">`;
const PHONE = { width: 390, height: 844 };

const textOf = async (page: Page, selector: string) => (await page.locator(selector).allInnerTexts()).join('\n');
const widths = (page: Page) =>
  page.evaluate('[document.documentElement.scrollWidth, document.documentElement.clientWidth]') as Promise<number[]>;

async function shows(page: Page, selector: string, wanted: RegExp): Promise<string> {
  let text = '';
  return eventually(
    async () => {
      text = await textOf(page, selector);
      return wanted.test(text) && text;
    },
    { ...PATIENT, what: () => `${selector} to show ${wanted}; it shows:\n${text}` },
  );
}

/** In light and dark, on the wall and on the phone. */
async function looksGoodEverywhere(page: Page): Promise<void> {
  const grounds: unknown[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    grounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
    for (const viewport of [{ width: 1440, height: 1000 }, PHONE]) {
      await page.setViewportSize(viewport);
      expect(await seriousFaults(page), `${colorScheme}, ${viewport.width} wide`).toEqual([]);
      const [scroll = 0, client] = await widths(page);
      expect(scroll, 'nothing to scroll sideways').toBe(client);
    }
  }
  expect(new Set(grounds).size).toBe(2);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1440, height: 1000 });
}

describeWith('the status page, in Chromium, while a swarm pulls', [chromiumMissing], () => {
  let scratch: Scratch;
  let image: DemoImage;
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let browser: Browser;
  let watched: Watched;

  beforeAll(async () => {
    scratch = await Scratch.create();
    image = buildImage([1, 16]);
    registry = new DemoRegistry({ repositories: [{ image, repository: 'team/api', tag: '1' }] });
    const url = await registry.start();
    scratch.defer(() => registry.stop());
    cluster = await AgentCluster.start(scratch, {
      agents: 3,
      registries: { [HOST]: url },
      // The registry is held while the page is looked at: that is no stall.
      settings: { tags: { maxAge: '1h' }, upstream: { stallTimeout: '10m' } },
      settingsOf: (index) => ({ node: { name: index === 2 ? HOSTILE : `node-${index}`, zone: `zone-${index % 2}` } }),
    });
    browser = await startChromium(scratch);
    watched = await openPage(browser, cluster.agent(0).statusUrl);
  });
  afterAll(() => scratch?.dispose());

  const largest = () => image.blobs.reduce((a, b) => (a.bytes.length > b.bytes.length ? a : b));
  const short = () => largest().digest.slice('sha256:'.length, 'sha256:'.length + 12);
  const get = async (index: number, path: string): Promise<number> => {
    const response = await fetch(`${cluster.agent(index).mirrorUrl}/v2/team/api/${path}?ns=${HOST}`);
    return (await response.arrayBuffer()).byteLength;
  };
  const transferOf = async (index: number) => {
    const status = (await (await fetch(`${cluster.agent(index).statusUrl}/status`)).json()) as AgentStatus;
    return status.transfers.find(({ digest }) => digest === largest().digest);
  };
  const percent = async (page: Page) => Number((await textOf(page, '.transfer .percent')).replace('%', ''));

  test('before anything was pulled it says so, and shows the peers with their zones', async () => {
    const { page } = watched;
    await shows(page, '#connection', /^live$/);
    await shows(page, '#transfers-empty', /No transfers now; nothing was fetched since this agent started/);
    await shows(page, '#pulls-empty', /Nothing was fetched/);
    expect(await textOf(page, '#node')).toBe('node-0');
    expect(await page.title()).toBe('node-0 · Windlass');
    const peers = await shows(page, '#peers', /node-1/);
    expect(peers).toMatch(/zone-0\s+this zone · 1 live[\s\S]*zone-1\s+1 live/);
  });

  test("a node's hostile name is text", async () => {
    const { page } = watched;
    expect(await textOf(page, '#peers')).toContain(HOSTILE);
    expect(await page.locator('img[src="x"]').count()).toBe(0);
    expect(await page.title()).not.toBe('owned');
  });

  test('a pull is watched from its beginning to its end', async () => {
    const { page } = watched;
    const { digest, bytes } = largest();
    for (const index of [0, 1, 2]) await get(index, `manifests/${image.manifest.digest}`);
    let heldAt = bytes.length * 0.25;
    registry.hold(digest, heldAt);
    // A little more now and then: a writer that gets nothing for 10 s would get a rival, maybe this very node.
    const drip = setInterval(() => {
      heldAt += CHUNK_BYTES;
      registry.release();
      registry.hold(digest, heldAt);
    }, 2_000);
    const pulls = [get(1, `blobs/${digest}`), get(2, `blobs/${digest}`)];
    await eventually(async () => ((await transferOf(1))?.written ?? 0) >= 2 * MIB, { ...PATIENT, what: 'a relay' });
    // The last to come reads from one of them.
    pulls.push(get(0, `blobs/${digest}`));
    try {
      const card = await shows(
        page,
        '#transfers',
        new RegExp(`${HOST}/team/api\\s+${short()}[\\s\\S]*from .*(node-1|img)`),
      );
      expect(card).toMatch(/B of 1\d\.\d MiB/);
      await eventually(async () => (await percent(page)) >= 15, { ...PATIENT, what: 'a quarter' });

      const tree = (await page.locator('svg.tree').getAttribute('aria-label')) ?? '';
      expect(tree).toMatch(new RegExp(`^${HOST} → .*(node-1|onerror).* → node-0 → .*1 client$`));
      expect(await page.locator('.tree-self text').textContent()).toBe('node-0');
      expect(await page.locator('.tree-edge').count()).toBeGreaterThanOrEqual(3);
      await shows(page, '#peers', /[↓↑]/);
      await looksGoodEverywhere(page);

      const before = await percent(page);
      heldAt += bytes.length * 0.25;
      await eventually(async () => (await percent(page)) >= before + 15, { ...PATIENT, what: 'progress' });
      expect(await percent(page)).toBeLessThan(100);
    } finally {
      clearInterval(drip);
      registry.release();
    }
    for (const sizeBytes of await Promise.all(pulls)) expect(sizeBytes).toBe(bytes.length);

    const row = await shows(page, '#pulls', new RegExp(`${HOST}/team/api\\s+${short()}`));
    expect(row).toMatch(/MiB[\s\S]*(node-1|img)[\s\S]*ago|just now/);
    const times = (await page.locator('.pull .phases').first().getAttribute('aria-label')) ?? '';
    expect(times).toMatch(/^claim .+ m?s, first byte .+ m?s, transfer .+ s, verify .+ m?s, commit .+ m?s$/);
    expect(await page.locator('.pull .phases').first().locator('.phase-transfer').count()).toBe(1);
    await shows(page, '#transfers-empty', /^No transfers now; last pull (just now|\d+ s ago|\d+ min ago)\.$/);
    await shows(page, '#figures', /Hit rate[\s\S]*100\.0%|Hit rate[\s\S]*\d+\.\d%/);
    await shows(page, '#figures', /Store\s+1\d\.\d MiB/);
    await shows(page, '#chart-bytes', /served to this node/);
    await looksGoodEverywhere(page);
  });

  test('everything came from the agent, and the browser complained of nothing', () => {
    const { asked, faults } = watched;
    expect(faults).toEqual([]);
    expect(asked.length).toBeGreaterThan(10);
    expect(asked.filter((url) => new URL(url).origin !== new URL(cluster.agent(0).statusUrl).origin)).toEqual([]);
  });

  test('whoever wants less motion gets none', async () => {
    const { page } = watched;
    const animation = () =>
      page.evaluate("getComputedStyle(document.querySelector('#connection'), '::before').animationName");
    expect(await animation()).toBe('breathe');
    await page.emulateMedia({ reducedMotion: 'reduce' });
    expect(await animation()).toBe('none');
  });

  test('names of repositories are not told to a page of another address', async () => {
    const { port } = new URL(cluster.agent(0).statusUrl);
    // As somebody else's site would, that made its name point to this machine; browsers resolve *.localhost themselves.
    const { page } = await openPage(browser, `http://elsewhere.localhost:${port}`);
    await shows(page, '#pulls', new RegExp(short()));
    expect(await textOf(page, 'body')).not.toContain('team/api');
    await shows(page, '#pulls-note', /status\.names/);
    await page.close();
  });

  test('an agent that goes away is said to be lost, and found when it is back', async () => {
    const { page } = watched;
    await cluster.agent(0).kill();
    await shows(page, '#connection', /connection lost, heard .*; trying again/);
    expect(await textOf(page, '#pulls'), 'what was known stays').toContain(short());
    await cluster.agent(0).start();
    await shows(page, '#connection', /^live$/);
    // The new process has fetched nothing, and has all in its store.
    await shows(page, '#pulls-empty', /Nothing was fetched/);
    await shows(page, '#figures', /Store\s+1\d\.\d MiB/);
  });
});

describeWith('the status page, in Chromium, of a large cluster', [chromiumMissing], () => {
  const PEERS = 100;
  const PULLS = 500;
  let scratch: Scratch;
  let watched: Watched;

  beforeAll(async () => {
    scratch = await Scratch.create();
    const events = new EventStream({
      feed: { all: async () => largeCluster(PEERS, PULLS), news: async () => new Map() },
      onError: () => {},
    });
    const app = fastify();
    addPageRoutes(app, { events, names: 'local' });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    scratch.defer(async () => {
      events.stop();
      await app.close();
    });
    watched = await openPage(await startChromium(scratch), url);
  });
  afterAll(() => scratch?.dispose());

  test(`${PEERS} peers and ${PULLS} pulls are shown, the pulls on demand and by the keyboard`, async () => {
    const { page, faults } = watched;
    await shows(page, '#peers-note', /100 peers in 3 zones/);
    expect(await page.locator('.peer').count()).toBe(PEERS);
    expect(await page.locator('.transfer').count()).toBe(12);
    await shows(page, '#transfers-note', /the first 12 of 40/);
    expect(await page.locator('.pull').count()).toBe(12);
    await page.locator('#pulls-more').focus();
    await page.keyboard.press('Enter');
    await eventually(async () => (await page.locator('.pull').count()) === PULLS, { ...PATIENT, what: 'all of them' });
    expect(await page.locator('#pulls-more').getAttribute('aria-expanded')).toBe('true');
    await page.keyboard.press('Space');
    await eventually(async () => (await page.locator('.pull').count()) === 12, { ...PATIENT, what: 'few again' });
    await looksGoodEverywhere(page);
    expect(faults).toEqual([]);
  });
});

/** What the agent of a large cluster would tell at first; every name as long as it may be. */
function largeCluster(peers: number, pulls: number): string {
  const name = (i: number) => `ip-10-0-${i}-17.eu-west-1.compute.internal`;
  const digest = (i: number) => `sha256:${i.toString(16).padStart(64, '0')}`;
  const blob = (i: number) => ({
    pull: 'p',
    registry: 'docker.io',
    repository: `${'a'.repeat(200)}/${i}`,
    digest: digest(i),
  });
  const nothing = { store: 0, content: 0, ingest: 0, peer: 0, upstream: 0, none: 0 };
  const share = { hitRate: 0.5, byteHitRate: 0.5, savedBytes: 2 ** 40, upstreamBytes: 2 ** 40 };
  const status: AgentStatus = {
    node: name(200),
    zone: 'zone-1',
    peerId: 'me',
    version: '1',
    uptimeMs: 1e9,
    ready: false,
    discovery: 'kubernetes',
    peers: Array.from({ length: peers }, (_, i) => {
      return {
        nodeName: name(i),
        peerId: `${i}`,
        zone: `zone-${i % 3}`,
        dataAddress: 'a:1',
        p2pAddresses: [],
        state: 'live' as const,
      };
    }),
    gone: [],
    unmet: [],
    transfers: Array.from({ length: 40 }, (_, i) => ({
      ...blob(i),
      id: `${i}`,
      sizeBytes: 2 ** 40,
      written: 2 ** 39,
      state: i % 2 === 0 ? 'writing' : 'verifying',
      source: 'peer' as const,
      from: [name(1)],
      path: Array.from({ length: i }, (_, above) => name(above)),
      parentRole: 'relay' as const,
      rate: 2 ** 30,
      readers: 100,
      children: i,
      to: Array.from({ length: i }, (_, child) => name(child)),
    })),
    uploads: { running: 1_000, rate: 2 ** 40 },
    totals: {
      ...share,
      requests: nothing,
      bytes: nothing,
      peerReceivedBytes: 0,
      peerSentBytes: 0,
      takeovers: 0,
      blamed: 0,
      refused: 0,
    },
    lastHour: { ...share, overMs: 3_600_000, servedBytes: 2 ** 41 },
    store: { blobs: 123_456, sizeBytes: 2 ** 42, ingestBytes: 2 ** 40, maxBytes: 2 ** 43 },
  };
  const recent: RecentPull[] = Array.from({ length: pulls }, (_, i) => ({
    ...blob(i),
    sequence: i + 1,
    sizeBytes: i * MIB,
    state: (['committed', 'passed', 'failed'] as const)[i % 3] ?? 'failed',
    code: i % 3 === 2 ? 'UPSTREAM_RATE_LIMITED' : null,
    source: 'peer',
    from: [name(1), name(2)],
    times: { claim: i, firstByte: 100, transfer: i * 10, verify: 10, commit: 20 },
    endedMsAgo: (pulls - i) * 1_000,
  }));
  const history: HistorySample[] = Array.from({ length: 361 }, (_, i) => {
    return { msAgo: (360 - i) * 10_000, answers: i, hits: i / 2, servedBytes: i * MIB, upstreamBytes: i, peerBytes: i };
  });
  const event = (kind: string, data: unknown) => `event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
  return event('recent', recent) + event('history', history) + event('status', status);
}
