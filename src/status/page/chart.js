/** @import { Series } from './series.js' */
import { byId, el, setAttribute, setText } from './dom.js';
import { showRate, showShare, showTime } from './quantities.js';
import uPlot from './uplot/uplot.js';

/** @typedef {{ readonly name: string, readonly key: 'served' | 'peers' | 'upstream' | 'hitRate', readonly colour: string, readonly fill?: string, readonly dash?: number[] }} Line */

/** @type {readonly Line[]} */
const BYTES = [
  { name: 'served to this node', key: 'served', colour: '--accent', fill: '--accent-faint' },
  { name: 'from peers', key: 'peers', colour: '--ink-soft', dash: [2, 3] },
  { name: 'from registries', key: 'upstream', colour: '--ink' },
];
/** @type {readonly Line[]} */
const HITS = [{ name: 'hit rate, over 5 min', key: 'hitRate', colour: '--accent', fill: '--accent-faint' }];

/** The two charts of the last hour. */
export class HourCharts {
  #bytes = new Chart(byId('chart-bytes'), BYTES, { height: 180, show: showRate, most: undefined });
  #hits = new Chart(byId('chart-hits'), HITS, { height: 92, show: showShare, most: 1 });

  constructor() {
    byId('hour-legend').append(
      ...BYTES.map(({ name, key }) =>
        el('li', {}, el('span', { class: `swatch line-${key}`, 'aria-hidden': 'true' }), name),
      ),
    );
  }

  /** @param {Series} series @param {string} summary */
  render(series, summary) {
    this.#bytes.render(series, `Bytes a second. ${summary}`);
    this.#hits.render(series, `Hit rate. ${summary}`);
  }
}

class Chart {
  #root;
  #lines;
  #options;
  #note = el('p', { class: 'chart-note' });
  #canvas = el('div');
  /** @type {uPlot | undefined} */
  #plot;
  /** @type {Series | undefined} */
  #series;

  /**
   * @param {HTMLElement} root
   * @param {readonly Line[]} lines
   * @param {{ readonly height: number, readonly show: (value: number) => string, readonly most: number | undefined }} options
   */
  constructor(root, lines, options) {
    this.#root = root;
    this.#lines = lines;
    this.#options = options;
    root.append(this.#note, this.#canvas);
    new ResizeObserver(() => this.#resize()).observe(root);
    // Colours are drawn, and not styled.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#build());
  }

  /** @param {Series} series @param {string} summary */
  render(series, summary) {
    this.#series = series;
    setAttribute(this.#root, 'aria-label', summary);
    if (this.#plot === undefined) this.#build();
    else this.#plot.setData(this.#data(series));
    if (this.#plot !== undefined && (this.#plot.cursor.idx ?? null) === null) this.#tell(null);
  }

  #build() {
    this.#plot?.destroy();
    this.#plot = undefined;
    const width = this.#root.clientWidth;
    if (this.#series === undefined || width === 0) return;
    const colour = (/** @type {string} */ name) => getComputedStyle(this.#root).getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--ink-soft'),
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const { show, most, height } = this.#options;
    this.#plot = new uPlot(
      {
        width,
        height,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        hooks: { setCursor: [(/** @type {uPlot} */ plot) => this.#tell(plot.cursor.idx ?? null)] },
        scales: {
          x: { time: false, range: () => [-this.#spanS, 0] },
          y: { range: (_plot, _least, greatest) => [0, most ?? Math.max(1024, greatest * 1.15)] },
        },
        axes: [
          {
            ...axis,
            size: 24,
            values: (_plot, ticks) =>
              ticks.map((s) => (s === 0 ? 'now' : `−${showTime(-s * 1000).replace(/ 0 (?:s|min)$/, '')}`)),
            incrs: [60, 300, 600, 900, 1200],
            space: 70,
          },
          {
            ...axis,
            size: 72,
            values: (_plot, ticks) =>
              ticks.map((value) =>
                value === 0 ? '0' : value === most ? '100%' : show(value).replace(/\.0(?=\D|$)/, ''),
              ),
            space: most === undefined ? 44 : 30,
            incrs: most === undefined ? BYTE_STEPS : [0.5],
          },
        ],
        series: [
          {},
          ...this.#lines.map(({ colour: stroke, fill, dash, name }) => ({
            label: name,
            stroke: colour(stroke),
            width: 1.5,
            points: { show: false },
            ...(fill === undefined || most !== undefined ? {} : { fill: colour(fill) }),
            ...(dash === undefined ? {} : { dash }),
          })),
        ],
      },
      this.#data(this.#series),
      this.#canvas,
    );
  }

  get #spanS() {
    return this.#series === undefined ? 1 : (this.#series.toMs - this.#series.fromMs) / 1000;
  }

  /** @param {Series} series @returns {uPlot.AlignedData} */
  #data(series) {
    return [series.atMs.map((atMs) => (atMs - series.toMs) / 1000), ...this.#lines.map(({ key }) => [...series[key]])];
  }

  /**
   * What was at the cursor; else the last.
   * @param {number | null} index
   */
  #tell(index) {
    const series = this.#series;
    if (series === undefined) return;
    const at = index ?? series.atMs.length - 1;
    const values = this.#lines.map(({ name, key }) => {
      const value = series[key][at] ?? null;
      return `${name} ${value === null ? '–' : this.#options.show(value)}`;
    });
    const when = index === null ? 'now' : `${showTime(series.toMs - (series.atMs[index] ?? 0))} ago`;
    setText(this.#note, `${when}: ${values.join(' · ')}`);
  }

  #resize() {
    const width = this.#root.clientWidth;
    if (this.#plot === undefined) this.#build();
    else if (width > 0 && this.#plot.width !== width) this.#plot.setSize({ width, height: this.#options.height });
  }
}

/** Powers of two up to TiB: round numbers of what is written. */
const BYTE_STEPS = Array.from({ length: 45 }, (_, power) => 2 ** power);
