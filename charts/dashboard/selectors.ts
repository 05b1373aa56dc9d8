/** What the variables choose: agents of these jobs, and of these nodes. */
const NODES = 'job=~"$job",instance=~"$instance"';
/** All agents of these jobs: what is fetched by one and served by another must not be taken apart. */
const CLUSTER = 'job=~"$job"';

/** A metric of the chosen nodes, with further matchers: `source!="none"`. */
export function ofNodes(metric: string, ...matchers: readonly string[]): string {
  return `${metric}{${[NODES, ...matchers].join(',')}}`;
}

/** The same of the whole cluster. */
export function ofCluster(metric: string, ...matchers: readonly string[]): string {
  return `${metric}{${[CLUSTER, ...matchers].join(',')}}`;
}

type Window = '$__rate_interval' | '$__range';

/** A second, summed up by these labels. */
export function rateOf(series: string, by: readonly string[] = []): string {
  return `${sumBy(by)}(rate(${series}[$__rate_interval]))`;
}

/** How much it grew in each step, or in all of the time shown. */
export function increaseOf(series: string, by: readonly string[] = [], window: Window = '$__rate_interval'): string {
  return `${sumBy(by)}(increase(${series}[${window}]))`;
}

/** `share`: 0.99. */
export function quantileOf(share: number, histogram: string, by: readonly string[]): string {
  return `histogram_quantile(${share}, ${rateOf(histogram, ['le', ...by])})`;
}

function sumBy(labels: readonly string[]): string {
  return labels.length === 0 ? 'sum' : `sum by (${labels.join(', ')}) `;
}
