/** All agents of what the variables choose: what is fetched by one and served by another must not be taken apart. */
const CLUSTER = 'cluster=~"$cluster",namespace=~"$namespace",job=~"$job"';
/** Those of the chosen nodes. */
const NODES = `${CLUSTER},instance=~"$instance"`;
/** One agent: in two clusters an address may be the same. Where a label is absent it is empty, and does no harm. */
export const AGENT = ['cluster', 'namespace', 'instance'];

/** A metric of the chosen nodes, with further matchers: `source!="none"`. */
export function ofNodes(metric: string, ...matchers: readonly string[]): string {
  return `${metric}{${[NODES, ...matchers].join(',')}}`;
}

/** The same of the whole cluster. */
export function ofCluster(metric: string, ...matchers: readonly string[]): string {
  return `${metric}{${[CLUSTER, ...matchers].join(',')}}`;
}

type Window = '$__interval' | '$__range';

/** A second, summed up by these labels. */
export function rateOf(series: string, by: readonly string[] = []): string {
  return `${sumBy(by)}(rate(${series}[$__rate_interval]))`;
}

/** Of each agent, by `max` or `sum`; with further labels. */
export function byAgent(how: 'max' | 'sum', expr: string, more: readonly string[] = []): string {
  return `${how} by (${[...AGENT, ...more].join(', ')}) (${expr})`;
}

/** How much it grew in each step, or in all of the time shown. */
export function increaseOf(series: string, by: readonly string[] = [], window: Window = '$__interval'): string {
  return `${sumBy(by)}(increase(${series}[${window}]))`;
}

/** `share`: 0.99. */
export function quantileOf(share: number, histogram: string, by: readonly string[]): string {
  return `histogram_quantile(${share}, ${rateOf(histogram, ['le', ...by])})`;
}

function sumBy(labels: readonly string[]): string {
  return labels.length === 0 ? 'sum' : `sum by (${labels.join(', ')}) `;
}
