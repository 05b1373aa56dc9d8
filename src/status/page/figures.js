/** @import { AgentStatus } from '../agent-status.ts' */
import { byId, el, setText, show } from './dom.js';
import { count, showRate, showShare, showSize, showTime } from './quantities.js';

/** The few numbers at the top. */
export class Figures {
  #hitRate = figure('Hit rate');
  #saved = figure('Bytes saved');
  #upstream = figure('From registries');
  #now = figure('Now');
  #store = figure('Store');
  #bar = el(
    'div',
    { class: 'bar', 'aria-hidden': 'true' },
    el('div', { class: 'bar-part' }),
    el('div', { class: 'bar-part faint' }),
  );

  constructor() {
    const all = [this.#hitRate, this.#saved, this.#upstream, this.#now, this.#store];
    this.#store.root.append(this.#bar);
    byId('figures').append(...all.map(({ root }) => root));
  }

  /** @param {AgentStatus} status */
  render(status) {
    const { lastHour, transfers, uploads } = status;
    const { hitRate, byteHitRate, savedBytes, servedBytes, upstreamBytes, overMs } = lastHour;
    const over = overMs >= 3_540_000 ? 'last hour' : `last ${showTime(overMs).split(' ').slice(0, 2).join(' ')}`;
    this.#hitRate.set(
      hitRate === null ? '–' : showShare(hitRate),
      hitRate === null ? `nothing asked, ${over}` : `of answers, ${over}`,
    );
    this.#saved.set(
      showSize(savedBytes),
      byteHitRate === null ? `nothing served, ${over}` : `${showShare(byteHitRate)} of ${showSize(servedBytes)} served`,
    );
    this.#upstream.set(showSize(upstreamBytes), `by this node, ${over}`);
    const rate = transfers.reduce((sum, transfer) => sum + transfer.rate, 0);
    const sending =
      uploads.running === 0
        ? 'nothing to peers'
        : `${count(uploads.running, 'blob')} to peers at ${showRate(uploads.rate)}`;
    this.#now.set(showRate(rate), `coming in; ${sending}`);
    this.#renderStore(status);
  }

  /** @param {AgentStatus} status */
  #renderStore({ store }) {
    const { sizeBytes, ingestBytes, maxBytes, blobs } = store;
    const onTheWay = ingestBytes === 0 ? '' : `, ${showSize(ingestBytes)} on their way`;
    this.#store.set(showSize(sizeBytes), `of ${showSize(maxBytes)} in ${count(blobs, 'blob')}${onTheWay}`);
    const parts = /** @type {HTMLCollectionOf<HTMLElement>} */ (this.#bar.children);
    const percent = (/** @type {number} */ bytes) => `${maxBytes === 0 ? 0 : Math.min(100, (bytes / maxBytes) * 100)}%`;
    parts[0]?.style.setProperty('width', percent(sizeBytes));
    parts[1]?.style.setProperty('width', percent(ingestBytes));
  }
}

/** @param {string} name */
function figure(name) {
  const value = el('p', { class: 'figure-value' }, '–');
  const note = el('p', { class: 'muted' }, ' ');
  const root = el('div', { class: 'figure' }, el('h2', {}, name), value, note);
  return {
    root,
    /** @param {string} text @param {string} more */
    set(text, more) {
      setText(value, text);
      setText(note, more);
    },
  };
}

/**
 * The line at the top: who this is.
 * @param {AgentStatus} status
 * @param {number} uptimeMs
 */
export function renderHead({ node, zone, ready, version, peerId }, uptimeMs) {
  setText(byId('node'), node);
  setText(byId('zone'), zone);
  show(byId('zone'), zone !== '');
  const state = byId('ready');
  setText(state, ready ? 'ready' : 'not ready');
  state.dataset.state = ready ? 'good' : 'bad';
  show(state, true);
  setText(byId('about'), `up ${showTime(uptimeMs)} · windlass ${version}`);
  if (peerId !== null) byId('node').title = peerId;
  document.title = `${node} · Windlass`;
}
