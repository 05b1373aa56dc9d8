/** @import { AgentStatus } from '../agent-status.ts' */
/** @import { Sample } from './model.js' */

/** So much of an hour is always shown, however young the agent is. */
const LEAST_MS = 300_000;
/** Of one step alone a hit rate would jump from 0 to 1 and back. */
const WINDOW_MS = 300_000;
const HOUR_MS = 3_600_000;
/** The time up to now, if it is long enough to tell a rate. */
const LEAST_STEP_MS = 3_000;

/**
 * @typedef {object} Series
 * @property {readonly number[]} atMs the end of each step
 * @property {readonly (number | null)[]} served bytes a second to this node's container runtimes
 * @property {readonly (number | null)[]} upstream bytes a second from registries
 * @property {readonly (number | null)[]} peers bytes a second from other agents
 * @property {readonly (number | null)[]} hitRate 0 to 1, over the five minutes before; null where nothing was asked then
 * @property {number} fromMs where the drawing begins
 * @property {number} toMs
 */

/**
 * What happened from one sample to the next.
 * @param {readonly Sample[]} samples
 * @param {AgentStatus | undefined} status
 * @param {number} nowMs
 * @returns {Series}
 */
export function seriesOf(samples, status, nowMs) {
  const all = status === undefined ? samples : [...samples, nowOf(status, nowMs)];
  const steps = all.slice(1).flatMap((sample, index) => {
    const before = all[index];
    const seconds = before === undefined ? 0 : (sample.atMs - before.atMs) / 1000;
    if (before === undefined || seconds * 1000 < LEAST_STEP_MS) return [];
    const since = all.find(({ atMs }) => sample.atMs - atMs <= WINDOW_MS) ?? before;
    const answers = sample.answers - since.answers;
    return {
      atMs: sample.atMs,
      served: Math.max(0, sample.servedBytes - before.servedBytes) / seconds,
      upstream: Math.max(0, sample.upstreamBytes - before.upstreamBytes) / seconds,
      peers: Math.max(0, sample.peerBytes - before.peerBytes) / seconds,
      hitRate: answers <= 0 ? null : Math.min(1, Math.max(0, (sample.hits - since.hits) / answers)),
    };
  });
  const firstMs = all[0]?.atMs ?? nowMs;
  return {
    atMs: steps.map(({ atMs }) => atMs),
    served: steps.map(({ served }) => served),
    upstream: steps.map(({ upstream }) => upstream),
    peers: steps.map(({ peers }) => peers),
    hitRate: steps.map(({ hitRate }) => hitRate),
    fromMs: Math.max(nowMs - HOUR_MS, Math.min(firstMs, nowMs - LEAST_MS)),
    toMs: nowMs,
  };
}

/** @param {AgentStatus} status @param {number} atMs @returns {Sample} */
function nowOf({ totals }, atMs) {
  const { requests, bytes, upstreamBytes, peerReceivedBytes } = totals;
  const sum = (/** @type {Readonly<Record<string, number>>} */ numbers) =>
    Object.values(numbers).reduce((total, number) => total + number, 0);
  const answers = sum(requests) - requests.none;
  return {
    atMs,
    msAgo: 0,
    answers,
    hits: answers - requests.upstream,
    servedBytes: sum(bytes),
    upstreamBytes,
    peerBytes: peerReceivedBytes,
  };
}
