import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentCluster } from '../support/agent-cluster.ts';
import { tryCommand } from '../support/commands.ts';
import { panelsOf, queriesOf, readDashboard } from '../support/dashboard-file.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage } from '../support/image.ts';
import { Prometheus, type Series } from '../support/prometheus.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { ALERTS_PATH, RECORDING_PATH } from '../support/rule-files.ts';
import { Scratch } from '../support/scratch.ts';

const AGENTS = 3;
const MIB = 1024 * 1024;
/** Of one agent with one registry, with room to spare. */
const MAX_SAMPLES = 1_000;

/** What Grafana puts in their place. The window holds what came before a pull and after it, however slow this machine. */
const VARIABLES: Readonly<Record<string, string>> = {
  job: 'windlass',
  instance: '127[.]0[.]0[.]1:.+',
  node: '.*',
  __rate_interval: '2m',
  __range: '30m',
};

/** Where all goes well these show 0, or nothing; the others show what was pulled. */
const OF_FAULTS = [
  'Live ingests',
  'Ingests and transfers',
  'Takeovers',
  'Blame',
  'Left out',
  'Refused',
  'Evicted',
  'Faults of the store',
  'Trouble with registries',
];
/** One series for each that is left out: nobody was. */
const MAY_BE_EMPTY = /^count by \(node, reason\) \(windlass_peers_left_out/;

const filledIn = (expr: string) =>
  expr.replace(/\$(\w+)/g, (_, name: string) => {
    const value = VARIABLES[name];
    if (value === undefined) throw new Error(`the dashboard has no variable $${name}`);
    return value;
  });

const shown = (series: readonly Series[]) => series.flatMap(({ values }) => values).filter(Number.isFinite);

describeWith(
  'a Prometheus that scraped agents during a swarm pull',
  [Prometheus.missing, RealRegistry.missing, commandsMissing('promtool')],
  () => {
    let scratch: Scratch;
    let cluster: AgentCluster;
    let prometheus: Prometheus;
    let pulledAtMs: number;

    beforeAll(async () => {
      scratch = await Scratch.create();
      const registry = await RealRegistry.start(scratch);
      cluster = await AgentCluster.start(scratch, {
        agents: AGENTS,
        registries: { 'docker.io': registry.url },
        settingsOf: (index) => ({ node: { zone: index < 2 ? 'east' : 'west' } }),
      });
      prometheus = await Prometheus.start(scratch, {
        targets: cluster.agents.map(({ statusUrl }) => new URL(statusUrl).host),
        rulePaths: [ALERTS_PATH, RECORDING_PATH],
      });
      // Twice: what a first answer brought into the world, the second increases.
      for (const seed of ['one', 'two']) {
        const image = buildImage({ seed, layerBytes: [6 * MIB, 2 * MIB, 50_000], gzip: false, index: true });
        await pushImage(registry.url, `library/${seed}`, 'v1', image);
        for (const agents of [cluster.agents, [cluster.agent(0)]]) {
          const pulls = await Promise.all(agents.map((agent) => pullImage(agent, `library/${seed}`, 'v1', image)));
          expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
        }
        await prometheus.scraped();
      }
      pulledAtMs = Date.now();
    });
    afterAll(() => scratch?.dispose());

    it('has something to show for every panel of the dashboard, and refuses none of its queries', async () => {
      const { dashboard } = await readDashboard();
      const panels = panelsOf(dashboard);
      expect(panels.length).toBeGreaterThan(30);
      const faults: string[] = [];
      for (const panel of panels) {
        const values: number[] = [];
        for (const { expr, instant } of queriesOf(panel)) {
          const query = filledIn(expr);
          const found = shown(await (instant === true ? prometheus.query(query) : prometheus.queryRange(query)));
          if (found.length === 0 && !MAY_BE_EMPTY.test(query)) faults.push(`${panel.title}: nothing for ${query}`);
          values.push(...found);
        }
        const flat = values.every((value) => value === 0);
        if (flat && !OF_FAULTS.includes(panel.title ?? '')) faults.push(`${panel.title}: nothing but 0`);
      }
      expect(faults).toEqual([]);
    });

    it('shows a hit rate and saved bytes that are those of the pulls', async () => {
      const { dashboard } = await readDashboard();
      const stat = async (title: string) => {
        const panel = panelsOf(dashboard).find((candidate) => candidate.title === title);
        const [query] = panel === undefined ? [] : queriesOf(panel);
        const [series] = await prometheus.query(filledIn(query?.expr ?? ''));
        return series?.values[0] ?? Number.NaN;
      };
      const served = await cluster.metric('windlass_mirror_response_bytes_total');
      const received = await cluster.metric('windlass_upstream_received_bytes_total');
      // Four pulls of each image; one of them, at the best, came from the registry.
      expect(received / served).toBeLessThan(0.6);
      // Prometheus extrapolates what increased to the ends of the window.
      expect(Math.abs((await stat('Hit rate, bytes')) - (1 - received / served))).toBeLessThan(0.1);
      expect(Math.abs((await stat('Bytes saved')) / (served - received) - 1)).toBeLessThan(0.3);
      expect(Math.abs((await stat('From registries')) / received - 1)).toBeLessThan(0.3);
      expect(await stat('Hit rate, requests')).toBeGreaterThan(0.5);
      expect(await stat('Agents that serve')).toBe(AGENTS);
    });

    it('fills the variables: jobs, nodes by name, and their instances', async () => {
      const series = await prometheus.query('windlass_agent_info{job=~"windlass",node=~"node-1|node-2"}');
      expect(series.map(({ labels }) => [labels.node, labels.zone]).sort()).toEqual([
        ['node-1', 'east'],
        ['node-2', 'west'],
      ]);
      expect(new Set(series.map(({ labels }) => labels.instance)).size).toBe(2);
    });

    it('counts bytes that crossed zones apart', async () => {
      const zones = await prometheus.query('sum by (zone) (windlass_peer_received_bytes_total)');
      const bytes = Object.fromEntries(zones.map(({ labels, values }) => [labels.zone, values[0]]));
      expect(bytes.same).toBeGreaterThan(0);
      expect(bytes.other).toBeGreaterThan(0);
      expect(bytes.unknown).toBe(0);
    });

    it('evaluates every rule without an error; nothing is alarming about a pull; every recording has a value', async () => {
      // Those of an error stay so; the others were evaluated, and after the pull.
      const evaluated = async () => {
        const rules = await prometheus.rules();
        return rules.every(({ health, lastEvaluation }) => health === 'err' || Date.parse(lastEvaluation) > pulledAtMs);
      };
      await eventually(evaluated, { timeoutMs: 120_000, everyMs: 500, what: 'all rules to be evaluated' });
      const rules = await prometheus.rules();
      expect(rules.length).toBeGreaterThan(30);
      expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
      expect(rules.filter(({ state }) => state === 'firing')).toEqual([]);
      for (const { name, type, query } of rules) {
        await prometheus.query(query);
        if (type === 'recording') expect(shown(await prometheus.queryRange(name)), name).not.toEqual([]);
      }
    });

    it("has nothing to say against an agent's metrics, of which there are as many whatever the number of peers", async () => {
      const text = await cluster.agent(0).metricsText();
      const { stdout, stderr } = await tryCommand('promtool', ['check', 'metrics'], { input: text });
      expect(stdout + stderr).toBe('');
      const [samples] = await prometheus.query('max(scrape_samples_scraped)');
      expect(samples?.values[0]).toBeLessThan(MAX_SAMPLES);
      // No label names a peer; but the first ten that are left out, should a slow machine have made one silent.
      const always = text.replace(/^windlass_peers_left_out\{.*$/gm, '');
      for (const { nodeName, peerId } of await othersOf(cluster)) {
        expect(always).not.toContain(peerId);
        expect(always).not.toContain(`"${nodeName}"`);
      }
    });

    it('begins to count the minutes when an agent dies, and says which', async () => {
      await cluster.agent(2).kill();
      const { host } = new URL(cluster.agent(2).statusUrl);
      const alert = await eventually(
        async () => (await prometheus.alerts()).find(({ labels }) => labels.alertname === 'WindlassDown'),
        { timeoutMs: 120_000, everyMs: 500, what: 'WindlassDown to be pending' },
      );
      expect(alert).toMatchObject({ state: 'pending', labels: { instance: host, severity: 'warning' } });
      expect(alert.annotations.summary).toBe(`The agent at ${host} does not answer.`);
    });
  },
);

async function othersOf(cluster: AgentCluster): Promise<{ readonly nodeName: string; readonly peerId: string }[]> {
  const status = await fetch(`${cluster.agent(0).statusUrl}/status`);
  const { peers } = (await status.json()) as { peers: { nodeName: string; peerId: string }[] };
  expect(peers).toHaveLength(AGENTS - 1);
  return peers;
}
