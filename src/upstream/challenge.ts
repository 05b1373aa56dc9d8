/** One challenge of a WWW-Authenticate header. */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  /** Names in lower case; a name given twice keeps its first value. */
  readonly parameters: ReadonlyMap<string, string>;
}

const MAX_LENGTH = 8_192;
const SEPARATORS = /[\s,]*/y;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const EQUALS = /\s*=\s*/y;
/** A quoted string (commas and escapes allowed; an end that is missing is the header's), or what servers leave bare. */
const VALUE = /"((?:[^"\\]|\\.)*)(?:"|$)|([^\s,"]*)/sy;
/** `Negotiate YII=`: credentials in one word instead of parameters. */
const TOKEN68 = /\s+[A-Za-z0-9._~+/-]+=*\s*(?=,|$)/y;

/** Reads RFC 9110's list of challenges leniently: what cannot be read is left out. */
export function parseChallenges(header: string | undefined): Challenge[] {
  const text = (header ?? '').slice(0, MAX_LENGTH);
  const challenges: Challenge[] = [];
  let parameters: Map<string, string> | undefined;
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    match(SEPARATORS);
    const word = match(TOKEN)?.[0].toLowerCase();
    if (word === undefined) {
      at += 1; // nothing that can stand here
    } else if (parameters !== undefined && match(EQUALS) !== null) {
      const value = match(VALUE);
      const text = value?.[1]?.replace(/\\(.)/gs, '$1') ?? value?.[2] ?? '';
      if (!parameters.has(word)) parameters.set(word, text);
    } else {
      parameters = new Map();
      challenges.push({ scheme: word, parameters });
      match(TOKEN68);
    }
  }
  return challenges;
}
