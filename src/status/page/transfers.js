/** @import { AgentStatus, TransferStatus } from '../agent-status.ts' */
/** @import { Pull } from './model.js' */
import { byId, el, KeyedList, setAttribute, setText, show } from './dom.js';
import { shortOf, sourceOf, titleOf } from './names.js';
import { showAgo, showRate, showSize, showTime } from './quantities.js';
import { treeOf } from './tree.js';
import { drawTree } from './tree-view.js';

/** Those that began first; the others are counted. */
const MAX_SHOWN = 12;
/** Of a card: below, the tree is drawn downwards. */
const NARROW_PX = 480;

/** What is on its way in, and where it comes from and goes to. */
export class Transfers {
  #list = new KeyedList(byId('transfers'), {
    keyOf: (/** @type {TransferStatus} */ { id }) => id,
    make: makeCard,
    update: (view, transfer) => this.#update(view, transfer),
  });
  #self = '';

  /**
   * @param {AgentStatus} status
   * @param {Pull | undefined} last
   * @param {number} nowMs
   */
  render({ node, transfers }, last, nowMs) {
    this.#self = node;
    this.#list.render(transfers.slice(0, MAX_SHOWN));
    const more = transfers.length - MAX_SHOWN;
    setText(
      byId('transfers-note'),
      more > 0
        ? `the first ${MAX_SHOWN} of ${transfers.length}`
        : transfers.length === 0
          ? ''
          : String(transfers.length),
    );
    const ended =
      last === undefined
        ? 'nothing was fetched since this agent started'
        : `last pull ${showAgo(nowMs - last.endedAtMs)}`;
    const empty = byId('transfers-empty');
    if (transfers.length === 0) setText(empty, `No transfers now; ${ended}.`);
    show(empty, transfers.length === 0);
  }

  /** @param {Card} view @param {TransferStatus} transfer */
  #update(view, transfer) {
    const { sizeBytes, written, state, rate, source, from } = transfer;
    const share = sizeBytes === null ? undefined : sizeBytes === 0 ? 1 : Math.min(1, written / sizeBytes);
    setText(view.title, titleOf(transfer));
    setText(view.digest, shortOf(transfer.digest));
    setText(view.percent, share === undefined ? '' : `${Math.floor(share * 100)}%`);
    view.part.style.setProperty('width', `${(share ?? 0) * 100}%`);
    setAttribute(view.bar, 'aria-valuenow', String(Math.floor((share ?? 0) * 100)));
    setAttribute(view.bar, 'aria-label', `${titleOf(transfer)} ${shortOf(transfer.digest)}`);
    setText(view.amount, sizeBytes === null ? showSize(written) : `${showSize(written)} of ${showSize(sizeBytes)}`);
    const leftMs = sizeBytes === null || rate === 0 ? undefined : ((sizeBytes - written) / rate) * 1000;
    setText(
      view.rate,
      state === 'writing'
        ? `${showRate(rate)}${leftMs === undefined ? '' : ` · ${leftMs < 1000 ? '< 1 s' : showTime(leftMs)} left`}`
        : state,
    );
    setText(view.origin, state === 'opening' ? 'finding a source' : originOf(source, from));
    const narrow = view.root.clientWidth > 0 && view.root.clientWidth < NARROW_PX;
    const tree = treeOf(transfer, this.#self, narrow ? 2 : 4);
    const drawn = JSON.stringify([tree, narrow, rate > 0]);
    if (view.tree.dataset.drawn === drawn) return;
    view.tree.dataset.drawn = drawn;
    view.tree.replaceChildren(drawTree(tree, { narrow, flowing: rate > 0 }));
  }
}

/** @param {TransferStatus['source']} source @param {readonly string[]} from */
function originOf(source, from) {
  if (from.length > 0) return `from ${from.join(', ')}`;
  return source === 'upstream' ? 'from the registry' : source === 'none' ? '' : `from ${sourceOf(source)}`;
}

/** @typedef {ReturnType<typeof makeCard>['view']} Card */

function makeCard() {
  const title = el('h3');
  const digest = el('code');
  const percent = el('span', { class: 'percent' });
  const part = el('div', { class: 'bar-part' });
  const bar = el('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100' }, part);
  const [amount, rate, origin] = [el('span'), el('span'), el('span')];
  const tree = el('div', { class: 'tree-box' });
  const root = el(
    'li',
    { class: 'transfer' },
    el('div', { class: 'transfer-head' }, title, digest, percent),
    bar,
    el('p', { class: 'facts' }, amount, rate, origin),
    tree,
  );
  return { element: root, view: { root, title, digest, percent, bar, part, amount, rate, origin, tree } };
}
