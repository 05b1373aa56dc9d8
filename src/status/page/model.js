/** @import { AgentStatus, HistorySample, RecentPull } from '../agent-status.ts' */

const MAX_PULLS = 500;
const HOUR_MS = 3_600_000;

/** Times here are those of this page's own clock, monotonic: nobody's time of day need be right.
 * @typedef {RecentPull & { readonly endedAtMs: number }} Pull
 * @typedef {HistorySample & { readonly atMs: number }} Sample
 */

/** What the agent has told so far. */
export class Model {
  /** @type {AgentStatus | undefined} */
  status;
  statusAtMs = 0;
  /** When anything was heard last. */
  heardAtMs = 0;
  /** @type {readonly Pull[]} the last to end first */
  pulls = [];
  /** @type {readonly Sample[]} the oldest first */
  samples = [];

  /**
   * @param {string} name
   * @param {unknown} data
   * @param {number} nowMs
   */
  take(name, data, nowMs) {
    this.heardAtMs = nowMs;
    if (name === 'status') this.#takeStatus(/** @type {AgentStatus} */ (data), nowMs);
    else if (name === 'recent') this.#takePulls(/** @type {readonly RecentPull[]} */ (data), nowMs);
    else if (name === 'history') this.#takeSamples(/** @type {readonly HistorySample[]} */ (data), nowMs);
  }

  /** The connection was lost: what comes next is all there is, maybe of an agent that was started again. */
  begin() {
    this.pulls = [];
    this.samples = [];
  }

  /** @param {AgentStatus} status @param {number} nowMs */
  #takeStatus(status, nowMs) {
    this.status = status;
    this.statusAtMs = nowMs;
  }

  /** @param {readonly RecentPull[]} ended @param {number} nowMs */
  #takePulls(ended, nowMs) {
    // The first news may repeat what was told at the beginning.
    const known = this.pulls[0]?.sequence ?? 0;
    const fresh = ended
      .filter(({ sequence }) => sequence > known)
      .map((pull) => {
        return { ...pull, endedAtMs: nowMs - pull.endedMsAgo };
      });
    if (fresh.length > 0) this.pulls = [...fresh.reverse(), ...this.pulls].slice(0, MAX_PULLS);
  }

  /** @param {readonly HistorySample[]} told @param {number} nowMs */
  #takeSamples(told, nowMs) {
    const lastMs = this.samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY;
    const fresh = told
      .map((sample) => ({ ...sample, atMs: nowMs - sample.msAgo }))
      .filter(({ atMs }) => atMs > lastMs + 1_000);
    this.samples = [...this.samples, ...fresh].filter(({ atMs }) => nowMs - atMs <= HOUR_MS + 30_000);
  }
}
