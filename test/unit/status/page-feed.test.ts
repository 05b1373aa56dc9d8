import { expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { RecentIngests } from '../../../src/pull/recent-ingests.ts';
import type { AgentStatus, RecentPull } from '../../../src/status/agent-status.ts';
import { History } from '../../../src/status/history.ts';
import { PageFeed } from '../../../src/status/page-feed.ts';
import { StatusReport } from '../../../src/status/status-report.ts';

const ORIGIN = { registry: 'registry.example', repository: 'team/secret-project' };
const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`);

function scene() {
  const metrics = new Metrics();
  const history = new History(metrics);
  const recent = new RecentIngests();
  const report = new StatusReport({
    node: 'n1',
    zone: () => 'a',
    version: '1',
    discovery: 'static',
    transfers: () => [],
    store: () => ({ blobs: 0, blobBytes: 0, ingestBytes: 0, maxBytes: 1 }),
    history,
    metrics,
  });
  const feed = new PageFeed({
    report,
    history,
    recent: (since) => recent.since(since),
    nameOf: (peerId) => (peerId === 'id-2' ? 'n2' : undefined),
    ready: () => true,
  });
  const end = () =>
    recent.add({
      pull: 'p',
      origin: ORIGIN,
      digest: DIGEST,
      writtenBytes: 5,
      state: 'failed',
      code: 'UPSTREAM_STALLED',
      source: 'peer',
      parents: ['id-2', 'id-3'],
      times: { claim: 1, firstByte: 2, transfer: 3, verify: 0, commit: 0 },
      endedAtMs: performance.now(),
    });
  return { feed, metrics, end };
}

/** Server-sent events, as a browser reads them. */
function eventsOf(text: string): { name: string; data: unknown }[] {
  return text
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const [name, data] = block.split('\n');
      return { name: name?.replace('event: ', '') ?? '', data: JSON.parse(data?.replace('data: ', '') ?? '') };
    });
}

const named = <T>(text: string, name: string) => eventsOf(text).find((event) => event.name === name)?.data as T;

test('whoever is new is told all, with the names of peers in place of their ids', async () => {
  const { feed, end } = scene();
  end();
  const text = await feed.all(true);
  expect(eventsOf(text).map(({ name }) => name)).toEqual(['recent', 'history', 'status']);
  expect(named<RecentPull[]>(text, 'recent')).toMatchObject([
    { ...ORIGIN, sequence: 1, sizeBytes: 5, code: 'UPSTREAM_STALLED', from: ['n2', 'id-3'], times: { transfer: 3 } },
  ]);
  expect(named<AgentStatus>(text, 'status')).toMatchObject({ node: 'n1', ready: true });
});

test('who is not to know names is told no name of a repository, in whatever field', async () => {
  const { feed, end } = scene();
  end();
  expect(named<RecentPull[]>(await feed.all(false), 'recent')).toMatchObject([
    { registry: 'registry.example', repository: null, digest: DIGEST },
  ]);
  const news = await feed.news([false, true]);
  expect((await feed.all(false)) + news.get(false)).not.toContain('secret-project');
  expect(news.get(true)).toContain('secret-project');
});

test('only what has changed is news', async () => {
  const { feed, metrics, end } = scene();
  const next = async () => eventsOf((await feed.news([true])).get(true) ?? '').map(({ name }) => name);
  expect(await next()).toEqual(['history', 'status']);
  expect(await next(), 'time alone passes').toEqual([]);
  end();
  expect(await next()).toEqual(['recent']);
  expect(await next()).toEqual([]);
  metrics.upstreamBytes.inc({ registry: 'r' }, 5);
  expect(await next()).toEqual(['status']);
  expect(await next()).toEqual([]);
});
