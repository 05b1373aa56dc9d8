import { isDeepStrictEqual } from 'node:util';
import { parse, TomlError } from 'smol-toml';
import { type Hosts, hostsSchema } from './hosts-schema.ts';
import { type TomlStatement, tomlStatements } from './toml-statements.ts';

/** What a hosts.toml is to say. */
export interface Mirror {
  /** `http://127.0.0.1:5050` */
  readonly url: string;
  /** For a file that is not there yet: the registry itself; undefined where containerd knows better. */
  readonly server?: string | undefined;
  /** For a file that is not there yet: further lines that hold for the registry itself. */
  readonly serverLines?: readonly string[];
}

/** A file's new text; or, in words, why it is left as it is. */
export type Merged =
  | { readonly kind: 'text'; readonly text: string }
  /** It asks the mirror first already, by somebody else's doing. */
  | { readonly kind: 'fine' }
  | { readonly kind: 'refused'; readonly why: string };

const FIRST_LINE = '# By `windlass configure`; `windlass cleanup` takes it away.';
const BEGIN = '# windlass: begin';
const END = '# windlass: end';
const NOT_READ = 'containerd itself passes it over; mend or remove it, then run windlass configure again';

/**
 * Puts the mirror before all other hosts. Of what is there every byte stays: the mirror's lines are put between two
 * statements, and then the whole is parsed to see that it says what it said before, and the mirror first.
 */
export function mergeHostsToml(prior: string | undefined, mirror: Mirror): Merged {
  // Of an empty file containerd says, as of none, that there is nothing; of one with a comment alone it does not.
  if (prior === undefined || prior === '') return { kind: 'text', text: newFile(mirror) };

  const before = read(prior);
  if (typeof before === 'string') return { kind: 'refused', why: before };
  const own = Object.keys(before.host ?? {}).find((host) => originOf(host) === originOf(mirror.url));
  if (own !== undefined) return alreadyNamed(prior, before, own);

  const text = insert(prior, mirror.url);
  const after = read(text);
  if (typeof after === 'string' || !saysTheSame(before, after, mirror.url)) {
    return {
      kind: 'refused',
      why: 'its hosts are written in a form to which none can be added in front (an inline table? dotted keys?); write them as [host."https://…"]',
    };
  }
  return { kind: 'text', text };
}

/** Is there anything of ours in it, as we wrote it or as somebody else changed it? Also of an earlier mirror's. */
export function holdsMirror(text: string, url: string): boolean {
  return [FIRST_LINE, BEGIN, END, new URL(url).host].some((part) => text.includes(part));
}

function newFile({ url, server, serverLines = [] }: Mirror): string {
  const root = [...(server === undefined ? [] : [`server = ${JSON.stringify(server)}`]), ...serverLines];
  return [FIRST_LINE, ...root, '', ...mirrorLines(url)].map((line) => `${line}\n`).join('');
}

/** `dial_timeout` is read from 2.1 on; earlier releases pass over what they do not know. */
function mirrorLines(url: string): string[] {
  return [BEGIN, `[host.${JSON.stringify(url)}]`, '  capabilities = ["pull", "resolve"]', '  dial_timeout = "1s"', END];
}

/** Before the first `[host."…"]` and the comment right above it; at the end where there is none. */
function insert(prior: string, url: string): string {
  const newline = prior.includes('\r\n') ? '\r\n' : '\n';
  const lines = mirrorLines(url).map((line) => line + newline);
  const statements = tomlStatements(prior);
  const first = statements.findIndex((statement) => hostOf(prior, statement) !== undefined);
  if (first === -1) {
    const gap = prior.endsWith('\n') ? newline : newline + newline;
    return prior + gap + lines.join('');
  }
  let above = first;
  while (statements[above - 1]?.kind === 'comment') above--;
  const at = statements[above]?.start ?? 0;
  return prior.slice(0, at) + [...lines, newline].join('') + prior.slice(at);
}

/** `https://a` of `[host."https://a"]` and of `[host."https://a".header]`; undefined for any other statement. */
function hostOf(text: string, { kind, start, end }: TomlStatement): string | undefined {
  if (kind !== 'header') return undefined;
  const table = parse(text.slice(start, end).replace('\uFEFF', '')).host;
  return typeof table === 'object' && table !== null ? Object.keys(table)[0] : undefined;
}

function firstHost(text: string): string | undefined {
  return tomlStatements(text)
    .map((statement) => hostOf(text, statement))
    .find((host) => host !== undefined);
}

/** The content, or why there is none that containerd would read. */
function read(text: string): Hosts | string {
  let content: unknown;
  try {
    content = parse(text, { integersAsBigInt: 'asNeeded' });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    return `it does not parse (line ${error.line}); ${NOT_READ}`;
  }
  const fit = hostsSchema.safeParse(content);
  if (fit.success) return fit.data;
  const where = fit.error.issues[0]?.path.map(String).join('.') ?? '';
  return `${where} is not of the kind that containerd reads; ${NOT_READ}`;
}

function alreadyNamed(text: string, { host = {} }: Hosts, own: string): Merged {
  const capabilities = host[own]?.capabilities;
  const isWhole = capabilities === undefined || pullsAndResolves(capabilities);
  if (firstHost(text) === own && isWhole) return { kind: 'fine' };
  const fault = isWhole ? 'not as the first host' : 'without "pull" and "resolve"';
  return { kind: 'refused', why: `somebody else put ${own} into it, ${fault}; mend that by hand, or take it out` };
}

/** Why containerd does not ask the mirror first for a registry whose hosts.toml this is. */
export interface MirrorFault {
  readonly code: 'unparsable' | 'not-named' | 'not-first' | 'capabilities' | 'https-first';
  readonly what: string;
}

/**
 * Undefined where all is well.
 * @param isMirror is this our mirror's origin, as in `http://127.0.0.1:5050`?
 */
export function mirrorFault(text: string, isMirror: (origin: string) => boolean): MirrorFault | undefined {
  const hosts = read(text);
  if (typeof hosts === 'string') return { code: 'unparsable', what: hosts };
  const names = Object.keys(hosts.host ?? {});
  const own = names.find((name) => isMirror(originOf(name)));
  if (own === undefined) {
    return { code: 'not-named', what: `it does not name the mirror${names.length === 0 ? '' : `, but ${names[0]}`}` };
  }
  const first = firstHost(text) ?? names[0];
  if (first !== own) return { code: 'not-first', what: `${first} stands before the mirror` };
  const { capabilities, skip_verify: skipVerify, ca } = hosts.host?.[own] ?? {};
  if (capabilities !== undefined && !pullsAndResolves(capabilities)) {
    const what = `the mirror has the capabilities ${JSON.stringify(capabilities)}, and needs "pull" and "resolve"`;
    return { code: 'capabilities', what };
  }
  if (skipVerify !== undefined || ca !== undefined) {
    return {
      code: 'https-first',
      what: 'with skip_verify or ca containerd tries HTTPS first, which the mirror has not',
    };
  }
  return undefined;
}

function pullsAndResolves(capabilities: readonly string[]): boolean {
  const given = capabilities.map((one) => one.toLowerCase());
  return ['pull', 'resolve'].every((one) => given.includes(one));
}

/** What it said, and the mirror before that. */
function saysTheSame(before: Hosts, after: Hosts, url: string): boolean {
  const { [url]: added, ...others } = after.host ?? {};
  // Hosts in a form that is no header of theirs are not seen when the place is looked for: ours would come after them.
  if (Object.keys(after.host ?? {})[0] !== url) return false;
  if (added === undefined || !isDeepStrictEqual(others, before.host ?? {})) return false;
  return isDeepStrictEqual({ ...after, host: null }, { ...before, host: null });
}

/** As containerd reads it: without a scheme it is https. */
function originOf(host: string): string {
  const url = /^https?:\/\//i.test(host) ? host : `https://${host}`;
  return URL.canParse(url) ? new URL(url).origin : host;
}
