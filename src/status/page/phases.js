/** @import { RecentPull } from '../agent-status.ts' */
import { showSpan } from './quantities.js';

/** @typedef {keyof RecentPull['times']} Phase */

/** @type {readonly { readonly phase: Phase, readonly name: string, readonly meaning: string }[]} */
export const PHASES = [
  { phase: 'claim', name: 'claim', meaning: 'until it was known whom to read it from' },
  { phase: 'firstByte', name: 'first byte', meaning: 'until that one sent something' },
  { phase: 'transfer', name: 'transfer', meaning: 'until all bytes were there' },
  { phase: 'verify', name: 'verify', meaning: 'until the digest held' },
  { phase: 'commit', name: 'commit', meaning: 'until it was safe on the disk' },
];

/** @param {RecentPull['times']} times */
export function totalOf(times) {
  return PHASES.reduce((sum, { phase }) => sum + times[phase], 0);
}

/**
 * The share of each in a bar, in percent: none that took any time is too thin to be seen.
 * @param {RecentPull['times']} times
 * @returns {readonly { readonly phase: Phase, readonly percent: number }[]} adds up to 100, or is empty
 */
export function sharesOf(times) {
  const leastPercent = 1;
  const total = totalOf(times);
  if (total <= 0) return [];
  const shares = PHASES.filter(({ phase }) => times[phase] > 0).map(({ phase }) => {
    return { phase, percent: Math.max(leastPercent, (times[phase] / total) * 100) };
  });
  const sum = shares.reduce((all, { percent }) => all + percent, 0);
  return shares.map(({ phase, percent }) => ({ phase, percent: (percent / sum) * 100 }));
}

/**
 * @param {RecentPull['times']} times
 * @returns {string} `claim 3 ms, first byte 40 ms, …`
 */
export function describeTimes(times) {
  return PHASES.map(({ phase, name }) => `${name} ${showSpan(times[phase])}`).join(', ');
}

/**
 * Where most of it went.
 * @param {RecentPull['times']} times
 * @returns {string} `transfer 92%`
 */
export function mostOf(times) {
  const total = totalOf(times);
  const most = PHASES.reduce((a, b) => (times[b.phase] > times[a.phase] ? b : a));
  return total <= 0 ? '' : `${most.name} ${Math.round((times[most.phase] / total) * 100)}%`;
}
