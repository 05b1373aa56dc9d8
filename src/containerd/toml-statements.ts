/** One statement of a TOML file, or the blank or comment between two: `text.slice(start, end)`, its line's end included. */
export interface TomlStatement {
  readonly kind: 'blank' | 'comment' | 'header' | 'pair';
  readonly start: number;
  readonly end: number;
}

/**
 * Cuts a TOML file that parses into its statements, so that a text can be put between two of them and all others keep
 * their bytes. What is a `[` or a `#` inside of strings and of lists over several lines is told apart from a header or
 * a comment; nothing else is understood here. Of a file that does not parse the answer means nothing.
 */
export function tomlStatements(text: string): TomlStatement[] {
  const statements: TomlStatement[] = [];
  let start = 0;
  while (start < text.length) {
    const first = skipBlanks(text, start);
    const kind = kindOf(text[first]);
    const end = kind === 'pair' ? endOfPair(text, first) : endOfLine(text, first);
    statements.push({ kind, start, end });
    start = end;
  }
  return statements;
}

function kindOf(first: string | undefined): TomlStatement['kind'] {
  if (first === '[') return 'header';
  if (first === '#') return 'comment';
  return first === undefined || first === '\n' || first === '\r' ? 'blank' : 'pair';
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\uFEFF') at++;
  return at;
}

/** Just behind the line break. */
function endOfLine(text: string, from: number): number {
  const at = text.indexOf('\n', from);
  return at === -1 ? text.length : at + 1;
}

/** A value may go on over several lines: in a list, in an inline table, in a string with three quotes. */
function endOfPair(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '"' || char === "'") at = endOfString(text, at) - 1;
    else if (char === '#') at = endOfLine(text, at) - (text.indexOf('\n', at) === -1 ? 1 : 2);
    else if (char === '[' || char === '{') depth++;
    else if (char === ']' || char === '}') depth--;
    else if (char === '\n' && depth <= 0) return at + 1;
  }
  return text.length;
}

function endOfString(text: string, from: number): number {
  const quote = text[from] ?? '';
  const isLong = text.startsWith(quote.repeat(3), from);
  const close = isLong ? quote.repeat(3) : quote;
  let at = from + close.length;
  while (at < text.length && !text.startsWith(close, at)) at += quote === '"' && text[at] === '\\' ? 2 : 1;
  at += close.length;
  // Up to two quotes may stand right before the three that close.
  while (isLong && text[at] === quote && at < text.length) at++;
  return Math.min(at, text.length);
}
