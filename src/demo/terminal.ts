import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';

export type Paint = 'bold' | 'dim' | 'green' | 'red' | 'cyan' | 'yellow';

/** What the terminal at the other end can do. */
export interface Terminal {
  /** Lines can be drawn over. */
  readonly isLive: boolean;
  readonly columns: number;
  readonly marks: {
    readonly full: string;
    readonly empty: string;
    readonly yes: string;
    readonly no: string;
    readonly arrow: string;
    readonly times: string;
    /** Where something was cut off. */
    readonly more: string;
  };
  paint(how: Paint, text: string): string;
}

const UNICODE_MARKS = { full: '█', empty: '░', yes: '✔', no: '✘', arrow: '──▶', times: '×', more: '…' };
const ASCII_MARKS = { full: '#', empty: '.', yes: 'ok', no: 'NO', arrow: '-->', times: 'x', more: '~' };

/** Honours NO_COLOR, FORCE_COLOR, TERM=dumb, narrow windows, windows without a size (`docker run -t`), and locales that say that they aren't UTF-8. */
export function terminalOf(
  stream: Pick<WriteStream, 'isTTY' | 'columns'> & Partial<Pick<WriteStream, 'rows'>> & NodeJS.WritableStream,
  env: NodeJS.ProcessEnv,
): Terminal {
  const isDumb = env.TERM === 'dumb';
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || 'UTF-8';
  const marks = isDumb || !/utf-?8/i.test(locale) ? ASCII_MARKS : UNICODE_MARKS;
  return {
    isLive: stream.isTTY === true && stream.rows !== 0 && !isDumb,
    columns: Math.max(48, stream.isTTY === true && stream.columns > 0 ? stream.columns : 80),
    marks,
    paint: (how, text) => (isDumb ? text : styleText(how, text, { stream })),
  };
}
