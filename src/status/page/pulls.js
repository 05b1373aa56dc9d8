/** @import { Pull } from './model.js' */
import { byId, el, KeyedList, setText, show } from './dom.js';
import { shortOf, sourceOf, titleOf } from './names.js';
import { describeTimes, mostOf, PHASES, sharesOf, totalOf } from './phases.js';
import { count, showAgo, showSize, showSpan } from './quantities.js';

const FEW = 12;

/** What came in lately, and where its time went. */
export class Pulls {
  #list = new KeyedList(byId('pulls'), {
    // An agent that was started again counts from 1.
    keyOf: (/** @type {Pull} */ { sequence, times }) => `${sequence} ${totalOf(times)}`,
    make: makeRow,
    update: ({ when }, { endedAtMs }) => setText(when, showAgo(this.#nowMs - endedAtMs)),
  });
  #button = byId('pulls-more');
  #all = false;
  #nowMs = 0;
  /** @type {readonly Pull[]} */
  #pulls = [];

  constructor() {
    byId('phase-legend').append(
      ...PHASES.map(({ phase, name, meaning }) =>
        el('li', { title: meaning }, el('span', { class: `swatch phase-${phase}`, 'aria-hidden': 'true' }), name),
      ),
    );
    this.#button.addEventListener('click', () => {
      this.#all = !this.#all;
      this.#draw();
    });
  }

  /** @param {readonly Pull[]} pulls @param {number} nowMs */
  render(pulls, nowMs) {
    this.#pulls = pulls;
    this.#nowMs = nowMs;
    this.#draw();
    const empty = byId('pulls-empty');
    setText(empty, 'Nothing was fetched since this agent started. What is served from the store needs no fetching.');
    show(empty, pulls.length === 0);
    const note = byId('pulls-note');
    setText(note, 'Names of repositories are shown to whoever asks at localhost (a port-forward does): status.names.');
    show(
      note,
      pulls.some(({ repository }) => repository === null),
    );
  }

  #draw() {
    const { length } = this.#pulls;
    this.#list.render(this.#all ? this.#pulls : this.#pulls.slice(0, FEW));
    setText(this.#button, this.#all ? `Show the last ${FEW}` : `Show all ${length}`);
    this.#button.setAttribute('aria-expanded', String(this.#all));
    show(this.#button, length > FEW);
  }
}

/** @param {Pull} pull */
function makeRow(pull) {
  const { times, state, code, sizeBytes } = pull;
  const when = el('span', { class: 'pull-when muted' });
  const outcome =
    state === 'committed' ? '' : state === 'passed' ? 'not kept: no room' : `failed: ${code ?? 'unknown'}`;
  const bar = el('div', {
    class: 'phases',
    role: 'img',
    'aria-label': describeTimes(times),
    title: describeTimes(times),
  });
  for (const { phase, percent } of sharesOf(times)) {
    const part = el('div', { class: `phase-${phase}` });
    part.style.setProperty('width', `${percent}%`);
    bar.append(part);
  }
  const name = el('span', { class: 'pull-title' }, titleOf(pull));
  name.title = `${titleOf(pull)}\n${pull.digest}\npull ${pull.pull}`;
  const element = el(
    'li',
    { class: 'pull', 'data-state': state },
    el('div', { class: 'pull-name' }, name, el('code', {}, shortOf(pull.digest))),
    el('span', { class: 'pull-size' }, showSize(sizeBytes)),
    el('span', { class: 'pull-from muted' }, originOf(pull)),
    bar,
    el('span', { class: 'pull-time' }, showSpan(totalOf(times))),
    el('span', { class: 'pull-most muted' }, outcome === '' ? mostOf(times) : outcome),
    when,
  );
  return { element, view: { when } };
}

/** @param {Pull} pull */
function originOf({ from, source, registry }) {
  const [first, ...others] = from;
  if (first === undefined)
    return source === 'upstream' ? registry : source === 'peer' ? 'the keeper' : sourceOf(source);
  const peers = others.length === 0 ? first : `${first} and ${count(others.length, 'peer')}`;
  return source === 'upstream' ? `${peers}, then ${registry}` : peers;
}
