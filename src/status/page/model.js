/** @import { AgentStatus, HistorySample, RecentPull } from '../agent-status.ts' */

const MAX_PULLS = 500;
const HOUR_MS = 3_600_000;
/** Peers send by the piece: over a second alone rates would jump. */
const RATE_OVER_MS = 5_000;

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

  /** @type {Map<string, { readonly atMs: number, readonly written: number }[]>} of each transfer, the last seconds */
  #progress = new Map();

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

  /** What comes next is all there is. */
  begin() {
    this.pulls = [];
    this.samples = [];
  }

  /** @param {AgentStatus} status @param {number} nowMs */
  #takeStatus(status, nowMs) {
    const { transfers } = status;
    this.#progress = new Map(
      transfers.map(({ id, written }) => {
        const seen = this.#progress.get(id)?.filter(({ atMs }) => nowMs - atMs <= RATE_OVER_MS) ?? [];
        return [id, [...seen, { atMs: nowMs, written }]];
      }),
    );
    this.status = {
      ...status,
      transfers: transfers.map((transfer) => ({ ...transfer, rate: this.#rateOf(transfer) })),
    };
    this.statusAtMs = nowMs;
  }

  /** @param {AgentStatus['transfers'][number]} transfer */
  #rateOf({ id, rate }) {
    const seen = this.#progress.get(id) ?? [];
    const [first, last] = [seen[0], seen.at(-1)];
    if (first === undefined || last === undefined || last.atMs - first.atMs < 1_000) return rate;
    return Math.max(0, ((last.written - first.written) * 1000) / (last.atMs - first.atMs));
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
