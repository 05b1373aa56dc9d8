/** @import { AgentStatus, GonePeer, PeerStatus } from '../agent-status.ts' */
import { byId, el, KeyedList, setAttribute, setText, show } from './dom.js';
import { count, showAgo } from './quantities.js';

/** @typedef {{ readonly key: string, readonly name: string, readonly zone: string, readonly state: string, readonly note: string, readonly spoken: string, readonly hint: string }} Shown */
/** @typedef {{ readonly zone: string, readonly own: boolean, readonly peers: readonly Shown[], readonly live: number }} Zone */

/** The other agents, zone by zone: this node's own first. */
export class Peers {
  #zones = new KeyedList(byId('peers'), {
    keyOf: (/** @type {Zone} */ { zone }) => `zone ${zone}`,
    make: makeZone,
    update: ({ title, note, list }, { zone, own, peers, live }) => {
      setText(title, zone === '' ? 'no zone' : zone);
      setText(note, `${own ? 'this zone · ' : ''}${live} live`);
      list.render(peers);
    },
  });

  /** @param {AgentStatus} status */
  render(status) {
    const { peers, gone, discovery } = status;
    const zones = zonesOf(status);
    this.#zones.render(zones);
    const lost = gone.length === 0 ? '' : `, ${gone.length} gone within the hour`;
    setText(
      byId('peers-note'),
      peers.length + gone.length === 0 ? '' : `${count(peers.length, 'peer')} in ${count(zones.length, 'zone')}${lost}`,
    );
    const empty = byId('peers-empty');
    if (zones.length === 0) {
      setText(
        empty,
        discovery === 'none'
          ? 'This agent is alone: discovery.kind is none.'
          : `No other agent found so far (discovery.kind is ${discovery}).`,
      );
    }
    show(empty, zones.length === 0);
  }
}

/**
 * @param {Pick<AgentStatus, 'peers' | 'gone' | 'zone' | 'transfers'>} status
 * @returns {Zone[]}
 */
export function zonesOf({ peers, gone, zone: ownZone, transfers }) {
  const gives = new Set(transfers.flatMap(({ from }) => from));
  const takes = new Set(transfers.flatMap(({ to }) => to));
  const shown = [...peers.map((peer) => shownPeer(peer, gives, takes)), ...gone.map(shownGone)];
  const names = [...new Set(shown.map(({ zone }) => zone))].sort((a, b) => {
    return Number(b === ownZone) - Number(a === ownZone) || a.localeCompare(b);
  });
  return names.map((zone) => {
    const inZone = shown.filter((peer) => peer.zone === zone);
    const live = inZone.filter(({ state }) => state === 'live').length;
    return { zone, own: zone === ownZone && zone !== '', peers: inZone, live };
  });
}

/**
 * @param {PeerStatus} peer
 * @param {ReadonlySet<string>} gives
 * @param {ReadonlySet<string>} takes
 * @returns {Shown}
 */
function shownPeer({ nodeName, peerId, zone, dataAddress, state }, gives, takes) {
  const traffic = [gives.has(nodeName) ? GIVES : undefined, takes.has(nodeName) ? TAKES : undefined].filter(
    (way) => way !== undefined,
  );
  const [note, spoken] = state === 'live' ? [join(traffic, 'arrow'), join(traffic, 'spoken')] : [state, ''];
  return { key: peerId, name: nodeName, zone, state, note, spoken, hint: `${nodeName}\n${dataAddress}\n${peerId}` };
}

const GIVES = { arrow: '↓', spoken: 'sends to this node' };
const TAKES = { arrow: '↑', spoken: 'reads from this node' };

/**
 * @param {readonly (typeof GIVES)[]} ways
 * @param {'arrow' | 'spoken'} how
 */
function join(ways, how) {
  return ways.map((way) => way[how]).join(how === 'arrow' ? ' ' : ', ');
}

/** @param {GonePeer} peer @returns {Shown} */
function shownGone({ nodeName, zone, state, goneMs }) {
  const note = `${state === 'dead' ? 'lost' : 'left'} ${showAgo(goneMs)}`;
  return { key: `gone ${nodeName}`, name: nodeName, zone, state, note, spoken: '', hint: nodeName };
}

function makeZone() {
  const title = el('h3');
  const note = el('span', { class: 'muted' });
  const items = el('ul', { class: 'peer-list' });
  const list = new KeyedList(items, {
    keyOf: (/** @type {Shown} */ { key }) => key,
    make: makePeer,
    update: updatePeer,
  });
  const element = el('section', { class: 'zone' }, el('div', { class: 'zone-head' }, title, note), items);
  return { element, view: { title, note, list } };
}

function makePeer() {
  const [name, note] = [el('span', { class: 'peer-name' }), el('span', { class: 'muted' })];
  const spoken = el('span', { class: 'spoken' });
  const element = el('li', { class: 'peer' }, el('span', { class: 'dot', 'aria-hidden': 'true' }), name, note, spoken);
  return { element, view: { name, note, spoken, element } };
}

/** @param {ReturnType<typeof makePeer>['view']} view @param {Shown} peer */
function updatePeer({ name, note, spoken, element }, peer) {
  setText(name, peer.name);
  setText(note, peer.note);
  setText(spoken, peer.spoken);
  // An arrow is drawn; what it means is said.
  setAttribute(note, 'aria-hidden', String(peer.spoken !== ''));
  element.dataset.state = peer.state;
  if (element.title !== peer.hint) element.title = peer.hint;
}
