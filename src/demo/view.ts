import { createLogUpdate } from 'log-update';
import { type DemoProgress, renderProgress, summary } from './progress.ts';
import type { Terminal } from './terminal.ts';

/** Where a demo tells what it does. */
export interface DemoView {
  say(text: string): void;
  /** Called several times a second while clients pull. */
  show(progress: DemoProgress): void;
  /** After the last `show`, also if it ended badly: what was drawn stays, the cursor is back. */
  done(): void;
}

/** Draws over the same lines again and again. */
export class LiveView implements DemoView {
  readonly #stream: NodeJS.WriteStream;
  readonly #terminal: Terminal;
  readonly #draw: ReturnType<typeof createLogUpdate>;

  constructor(stream: NodeJS.WriteStream, terminal: Terminal) {
    this.#stream = stream;
    this.#terminal = terminal;
    this.#draw = createLogUpdate(stream);
  }

  say(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  show(progress: DemoProgress): void {
    this.#draw(renderProgress(progress, this.#terminal));
  }

  done(): void {
    this.#draw.done();
  }
}

/** A line at each quarter, for files and pipes and terminals that can't draw over. */
export class PlainView implements DemoView {
  readonly #stream: NodeJS.WritableStream;
  #quarters = -1;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  say(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  show(progress: DemoProgress): void {
    const quarters = Math.floor((4 * progress.upstreamBytes) / progress.sizeBytes);
    if (quarters <= this.#quarters) return;
    this.#quarters = quarters;
    this.say(`  ${summary(progress)}`);
  }

  done(): void {
    this.#quarters = -1;
  }
}

export const SILENT_VIEW: DemoView = { say: () => {}, show: () => {}, done: () => {} };
