/** Without a word for so long it is taken for dead: the agent says something each second. */
const SILENT_MS = 5_000;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 10_000;

/** @typedef {'connecting' | 'live' | 'lost'} ConnectionState */

/**
 * The agent's events (see PageFeed), asked for again whenever they end: EventSource itself gives up at the first answer
 * other than 200, and never notices silence. Nothing is asked for while the page is not visible.
 */
export class Connection {
  #url;
  #listener;
  /** @type {EventSource | undefined} */
  #source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #pauseMs = FIRST_PAUSE_MS;

  /**
   * @param {string} url
   * @param {{
   *   readonly onBegin: () => void,
   *   readonly onEvent: (name: string, data: unknown) => void,
   *   readonly onState: (state: ConnectionState) => void,
   * }} listener
   */
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  start() {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#close();
      else this.#open();
    });
    if (!document.hidden) this.#open();
  }

  #open() {
    this.#close();
    const source = new EventSource(this.#url);
    this.#source = source;
    for (const name of ['status', 'recent', 'history', 'beat']) {
      source.addEventListener(name, (event) => {
        this.#pauseMs = FIRST_PAUSE_MS;
        this.#expect(SILENT_MS);
        this.#listener.onState('live');
        this.#listener.onEvent(name, JSON.parse(event.data));
      });
    }
    source.addEventListener('open', () => this.#listener.onBegin());
    source.addEventListener('error', () => this.#lost());
    this.#expect(SILENT_MS);
  }

  #lost() {
    this.#close();
    this.#listener.onState('lost');
    this.#timer = setTimeout(() => this.#open(), this.#pauseMs);
    this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
  }

  /** @param {number} ms */
  #expect(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), ms);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
  }
}
