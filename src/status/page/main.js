import { HourCharts } from './chart.js';
import { Connection } from './connection.js';
import { byId, setText } from './dom.js';
import { Figures, renderHead } from './figures.js';
import { Model } from './model.js';
import { Peers } from './peers.js';
import { Pulls } from './pulls.js';
import { showAgo, showShare, showSize } from './quantities.js';
import { seriesOf } from './series.js';
import { Transfers } from './transfers.js';

/** Charts move slowly. */
const CHART_EVERY_MS = 2_000;

const model = new Model();
const figures = new Figures();
const transfers = new Transfers();
const charts = new HourCharts();
const peers = new Peers();
const pulls = new Pulls();

/** @type {import('./connection.js').ConnectionState} */
let state = 'connecting';
let asked = false;
let chartAtMs = Number.NEGATIVE_INFINITY;

const connection = new Connection('/events', {
  // Maybe by an agent that was started again.
  onBegin: () => model.begin(),
  onEvent(name, data) {
    model.take(name, data, performance.now());
    draw();
  },
  onState(next) {
    if (next === state) return;
    state = next;
    draw();
  },
});
connection.start();
// While nothing is heard the page itself says how old it is.
setInterval(() => state === 'lost' && draw(), 1_000);

/** Once a frame, however many events came. */
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    render();
  });
}

function render() {
  const nowMs = performance.now();
  renderConnection(nowMs);
  const { status } = model;
  if (status === undefined || state === 'lost') return;
  renderHead(status, status.uptimeMs + nowMs - model.statusAtMs);
  figures.render(status);
  transfers.render(status, model.pulls[0], nowMs);
  peers.render(status);
  pulls.render(model.pulls, nowMs);
  if (nowMs - chartAtMs < CHART_EVERY_MS) return;
  chartAtMs = nowMs;
  const { savedBytes, servedBytes, hitRate } = status.lastHour;
  const rate = hitRate === null ? 'nothing asked' : `hit rate ${showShare(hitRate)}`;
  charts.render(
    seriesOf(model.samples, status, nowMs),
    `Last hour: ${rate}, ${showSize(savedBytes)} saved of ${showSize(servedBytes)} served`,
  );
}

/** @param {number} nowMs */
function renderConnection(nowMs) {
  const element = byId('connection');
  element.dataset.state = state;
  document.body.classList.toggle('stale', state === 'lost');
  const heard = model.heardAtMs === 0 ? 'nothing heard yet' : `heard ${showAgo(nowMs - model.heardAtMs)}`;
  const texts = { connecting: 'connecting', live: 'live', lost: `connection lost, ${heard}; trying again` };
  setText(element, texts[state]);
}
