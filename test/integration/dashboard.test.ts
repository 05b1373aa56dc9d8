import { afterAll, beforeAll, expect, it } from 'vitest';
import { Metrics } from '../../src/metrics/metrics.ts';
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
import { ALERTS_PATH, copyWithoutIntervals, RECORDING_PATH } from '../support/rule-files.ts';
import { Scratch } from '../support/scratch.ts';

const AGENTS = 3;
const MIB = 1024 * 1024;
/** Of one agent with one registry, with room to spare. */
const MAX_SAMPLES = 1_000;

/** What Grafana puts in their place. The window holds what came before a pull and after it, however slow this machine. */
const VARIABLES: Readonly<Record<string, string>> = {
  cluster: '.*',
  namespace: '.*',
  job: 'windlass',
  instance: '127[.]0[.]0[.]1:.+',
  node: '.*',
  __interval: '2m',
  __rate_interval: '2m',
  __range: '30m',
};

/** A scrape that took too long leaves a gap, and instant queries show nothing until the next. */
const PATIENCE = { timeoutMs: 120_000, everyMs: 500 };
/** What service discovery, relabeling and Prometheus itself call targets by. */
const TARGET_LABELS = ['job', 'instance', 'cluster', 'namespace', 'node', 'pod', 'container', 'service', 'endpoint'];

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
const MAY_BE_EMPTY = /^count by \(peer_node, reason\) \(windlass_peers_left_out/;

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
        // As the chart's monitors label them; the names are others, so that it shows whose is shown.
        targets: cluster.agents.map(({ statusUrl }, index) => ({
          address: new URL(statusUrl).host,
          labels: { node: `target-${index}` },
        })),
        rulePaths: [ALERTS_PATH, await copyWithoutIntervals(RECORDING_PATH, scratch.join('recording.rules.yaml'))],
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

    /** The labels that a query gives, once it has something of every agent. */
    async function ofEachAgent(query: string): Promise<Series['labels'][]> {
      let found: Series[] = [];
      const ask = async () => {
        found = await prometheus.query(query);
        return found.length === AGENTS;
      };
      await eventually(ask, { ...PATIENCE, what: `all agents in ${query}` });
      return found.map(({ labels: { __name__: _, ...labels } }) => labels);
    }

    it('has something to show for every panel of the dashboard, and refuses none of its queries', async () => {
      const { dashboard } = await readDashboard();
      const panels = panelsOf(dashboard);
      expect(panels.length).toBeGreaterThan(30);
      for (const panel of panels) {
        let lacks = '';
        const hasIt = async () => {
          const all: number[] = [];
          for (const { expr, instant } of queriesOf(panel)) {
            const query = filledIn(expr);
            const values = shown(await (instant === true ? prometheus.query(query) : prometheus.queryRange(query)));
            lacks = `show something for ${query}`;
            if (values.length === 0 && !MAY_BE_EMPTY.test(query)) return false;
            all.push(...values);
          }
          lacks = 'show more than 0';
          return all.some((value) => value !== 0) || OF_FAULTS.includes(panel.title ?? '');
        };
        await eventually(hasIt, { ...PATIENCE, what: () => `${panel.title} to ${lacks}` });
      }
    });

    it('shows a hit rate and saved bytes that are those of the pulls', async () => {
      const { dashboard } = await readDashboard();
      const shows = async (title: string, isRight: (value: number) => boolean) => {
        const panel = panelsOf(dashboard).find((candidate) => candidate.title === title);
        const [query] = panel === undefined ? [] : queriesOf(panel);
        let value: number | undefined;
        const right = async () => {
          value = (await prometheus.query(filledIn(query?.expr ?? '')))[0]?.values[0];
          return value !== undefined && isRight(value);
        };
        await eventually(right, { ...PATIENCE, what: () => `${title} to be right; it is ${value}` });
      };
      const served = await cluster.metric('windlass_mirror_response_bytes_total');
      const received = await cluster.metric('windlass_upstream_received_bytes_total');
      // One of four pulls of each image fetched it, or more where a busy machine lets claims go unanswered.
      expect(received).toBeLessThan(served);
      // Prometheus extrapolates what increased to the ends of the window.
      const near = (truth: number) => (value: number) => Math.abs(value - truth) < 0.3 * truth;
      await shows('Hit rate, bytes', (value) => Math.abs(value - (1 - received / served)) < 0.1);
      await shows('Bytes saved', near(served - received));
      await shows('From registries', near(received));
      await shows('Hit rate, requests', (value) => value > 0 && value < 1);
      await shows('Agents that serve', (value) => value === AGENTS);
    });

    it('has one row for each agent in its table, whatever label the targets have', async () => {
      const { dashboard } = await readDashboard();
      const [table] = panelsOf(dashboard).filter(({ type }) => type === 'table');
      const [names, ...columns] = table === undefined ? [] : queriesOf(table);
      expect(columns.length).toBeGreaterThan(10);
      const rows = await ofEachAgent(filledIn(names?.expr ?? ''));
      expect(rows.map((row) => row.node_name).sort()).toEqual(['node-0', 'node-1', 'node-2']);
      const instances = rows.map(({ instance }) => ({ instance }));
      for (const { expr } of columns) {
        // By other labels than those of the rows, Grafana would not merge them into these.
        expect(new Set(await ofEachAgent(filledIn(expr)))).toEqual(new Set(instances));
      }
    });

    it('fills the variables: jobs, nodes by name, and their instances', async () => {
      const agents = await ofEachAgent('windlass_agent_info{job=~"windlass",node_name=~"node-.*"}');
      expect(agents.map(({ node_name, zone, node, discovery }) => [node_name, zone, node, discovery]).sort()).toEqual([
        ['node-0', 'east', 'target-0', 'static'],
        ['node-1', 'east', 'target-1', 'static'],
        ['node-2', 'west', 'target-2', 'static'],
      ]);
      expect(new Set(agents.map(({ instance }) => instance)).size).toBe(AGENTS);
    });

    it('has no metric with a label that a target may have: it would be pushed aside', async () => {
      expect(await prometheus.query('{exported_node!=""}')).toEqual([]);
      // Those without a value here as well.
      const labels = Object.values(new Metrics() as object).flatMap(({ labelNames = [] }) => labelNames);
      expect(labels).toContain('peer_node');
      for (const taken of TARGET_LABELS) expect(labels).not.toContain(taken);
    });

    it('counts bytes that crossed zones apart', async () => {
      const counted = async (zone: string) => [
        zone,
        await cluster.metric('windlass_peer_received_bytes_total', { zone }),
      ];
      const truth = Object.fromEntries(await Promise.all(['same', 'other', 'unknown'].map(counted)));
      expect(truth.same + truth.other).toBeGreaterThan(0);
      expect(truth.unknown).toBe(0);
      await eventually(
        async () => {
          const zones = await prometheus.query('sum by (zone) (windlass_peer_received_bytes_total)');
          return zones.length === 3 && zones.every(({ labels, values }) => truth[labels.zone ?? ''] === values[0]);
        },
        { ...PATIENCE, what: 'Prometheus to show what the agents count' },
      );
    });

    it('evaluates every rule without an error; nothing is alarming about a pull; every recording has a value', async () => {
      // Those of an error stay so; the others were evaluated, and after the pull.
      const evaluated = async () => {
        const rules = await prometheus.rules();
        return rules.every(({ health, lastEvaluation }) => health === 'err' || Date.parse(lastEvaluation) > pulledAtMs);
      };
      await eventually(evaluated, { ...PATIENCE, what: 'all rules to be evaluated' });
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
      const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      expect(samples.length).toBeLessThan(MAX_SAMPLES);
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
        { ...PATIENCE, what: 'WindlassDown to be pending' },
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
