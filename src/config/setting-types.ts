import { z } from 'zod';
import { isWildcard, type ListenAddress, parseListenAddress } from './listen-address.ts';
import { isDnsName, parseMultiaddr, suggestMultiaddr } from './multiaddr.ts';
import { parseHostPattern } from './registry-host.ts';
import { parseServiceName, parseServicePort, suggestServiceName } from './service-name.ts';
import { isTaintKey, suggestTaintKey } from './taint-key.ts';
import {
  parseDuration,
  parseShare,
  parseSize,
  SIZE_UNIT_NAMES,
  suggestDuration,
  suggestSize,
  TIME_UNIT_NAMES,
} from './units.ts';

/** How a type is called in the documentation, and how its text in a flag or variable becomes a value. */
export interface Form {
  readonly name: string;
  /** `list`: JSON, or plain strings between commas; `number` and `boolean`: as in JSON. */
  readonly decode: 'text' | 'number' | 'boolean' | 'list';
}

/** The form of every type that is made here. */
export const forms = z.registry<Form>();

/** What a type says instead of a value: what would be right. */
class Refusal {
  readonly right: string;
  constructor(right: string) {
    this.right = right;
  }
}

const UNREACHABLE = 'others cannot reach that: write the address and port at which they can';

/** Timers overflow above 2^31 ms, and then fire at once. */
const MAX_DURATION = '24d';

export function text(options: { readonly mayBeEmpty?: boolean } = {}) {
  return type<string>({ name: 'text', decode: 'text' }, (raw) => {
    if (typeof raw === 'number' || typeof raw === 'boolean') return new Refusal(`put it in quotes: "${raw}"`);
    if (typeof raw !== 'string' || /\p{Cc}/u.test(raw) || raw.length > 253)
      return new Refusal('write one line of text');
    return raw.trim() === '' && options.mayBeEmpty !== true ? new Refusal('write something, or leave it out') : raw;
  });
}

export function path(options: { readonly mayBeEmpty?: boolean } = {}) {
  return type<string>({ name: 'path', decode: 'text' }, (raw) =>
    typeof raw === 'string' && (raw.trim() !== '' || (raw === '' && options.mayBeEmpty === true)) && !raw.includes('\0')
      ? raw
      : new Refusal('write a path'),
  );
}

export function choice<const T extends string>(...values: readonly T[]) {
  return type<T>({ name: values.join(', '), decode: 'text' }, (raw) => {
    return values.find((value) => value === raw) ?? new Refusal(`write one of ${values.join(', ')}`);
  });
}

/** Bytes. */
export function size(options: { readonly mayBeZero?: boolean } = {}) {
  return type<number>({ name: 'size', decode: 'text' }, (raw) => {
    const written = quantityText(raw);
    const value = parseSize(written);
    if (value === undefined) {
      return new Refusal(
        quantityHint('a size such as 20GiB', SIZE_UNIT_NAMES, suggestSize(written) ?? withUnit(written, bareSizeUnit)),
      );
    }
    return value === 0 && options.mayBeZero !== true ? new Refusal('write a size above 0') : value;
  });
}

/** Milliseconds. */
export function duration(options: { readonly mayBeZero?: boolean } = {}) {
  return type<number>({ name: 'time', decode: 'text' }, (raw) => {
    const written = quantityText(raw);
    const value = parseDuration(written);
    if (value === undefined) {
      return new Refusal(
        quantityHint('a time such as 30s', TIME_UNIT_NAMES, suggestDuration(written) ?? withUnit(written, () => 's')),
      );
    }
    if (value > (parseDuration(MAX_DURATION) ?? 0)) return new Refusal(`write at most ${MAX_DURATION}`);
    return value === 0 && options.mayBeZero !== true ? new Refusal('write a time above 0') : value;
  });
}

/** 0 to 1, 1 excluded: `20%` is 0.2. */
export function share() {
  return type<number>({ name: 'share', decode: 'text' }, (raw) => {
    const written = typeof raw === 'string' ? raw : String(raw);
    const value = parseShare(written);
    if (value === undefined) {
      const number = Number(written.replace(/\s*%\s*$/, ''));
      const percent = written.includes('%') || number >= 1 ? number : Math.round(number * 1e4) / 100;
      const guess = written !== '' && percent >= 0 && percent < 100 ? `${percent}%` : undefined;
      return new Refusal(quantityHint('a share such as 20%', undefined, guess));
    }
    return value >= 1 ? new Refusal('write less than 100%') : value;
  });
}

export function count(options: { readonly min: number; readonly max: number }) {
  return type<number>({ name: 'number', decode: 'number' }, (raw) =>
    typeof raw === 'number' && Number.isInteger(raw) && raw >= options.min && raw <= options.max
      ? raw
      : new Refusal(`write a whole number from ${options.min} to ${options.max}`),
  );
}

export function toggle() {
  return type<boolean>({ name: 'true, false', decode: 'boolean' }, (raw) =>
    typeof raw === 'boolean' ? raw : new Refusal('write true or false'),
  );
}

export function listenAddress() {
  return type<ListenAddress>({ name: 'address', decode: 'text' }, (raw) => {
    const address = typeof raw === 'string' ? parseListenAddress(raw) : undefined;
    if (address !== undefined) return address;
    const port = /^:?(\d{1,5})$/.exec(String(raw))?.[1];
    const guess = port === undefined ? '' : `; did you mean 127.0.0.1:${port}, or 0.0.0.0:${port} for all?`;
    return new Refusal(`write host:port, as in 127.0.0.1:5050 or [::1]:5050${guess}`);
  });
}

/** Where another agent is asked: a host and a port, neither of them left open. */
export function peerAddress() {
  return type<ListenAddress>({ name: 'host:port', decode: 'text' }, parsePeerAddress);
}

/** The same, or an empty text for none. */
export function peerAddressOrNone() {
  return type<ListenAddress | undefined>({ name: 'host:port', decode: 'text' }, (raw) =>
    raw === '' ? undefined : parsePeerAddress(raw),
  );
}

/** libp2p's way to write an address, kept as text: `/ip4/0.0.0.0/tcp/5052`. `reachable`: others dial it. */
export function multiaddr(options: { readonly reachable: boolean }) {
  return type<string>({ name: 'multiaddr', decode: 'text' }, (raw) => {
    const written = typeof raw === 'string' || typeof raw === 'number' ? String(raw) : '';
    const address = parseMultiaddr(written);
    if (address === undefined) {
      const guess = suggestMultiaddr(written);
      const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
      return new Refusal(
        `write a multiaddr: /ip4/…, /ip6/… or /dns/… and /tcp/PORT, as in /ip4/10.0.0.3/tcp/5052${hint}`,
      );
    }
    if (options.reachable && (isWildcard(address) || address.port === 0)) return new Refusal(UNREACHABLE);
    return written;
  });
}

/** A name to look up in the DNS; may be empty. */
export function dnsName() {
  return type<string>({ name: 'DNS name', decode: 'text' }, (raw) =>
    typeof raw === 'string' && (raw === '' || isDnsName(raw))
      ? raw.toLowerCase()
      : new Refusal(
          'write a name that the DNS knows, as in windlass-peers.kube-system.svc.cluster.local, without a port',
        ),
  );
}

/** A Service of Kubernetes, with or without its namespace, kept as text; may be empty. */
export function serviceName() {
  return type<string>({ name: 'namespace/name', decode: 'text' }, (raw) => {
    if (typeof raw === 'string' && (raw === '' || parseServiceName(raw) !== undefined)) return raw;
    const guess = suggestServiceName(String(raw));
    const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
    return new Refusal(
      `write the name of a Service, or namespace/name, as in kube-system/windlass-peers, in lower case${hint}`,
    );
  });
}

/** The key of a taint of a Node; may be empty. */
export function taintKey() {
  return type<string>({ name: 'taint key', decode: 'text' }, (raw) => {
    if (typeof raw === 'string' && (raw === '' || isTaintKey(raw))) return raw;
    const guess = suggestTaintKey(String(raw));
    const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
    return new Refusal(`write the key of a taint, as in windlass.dev/agent-not-ready${hint}`);
  });
}

/** One of a Service's ports. */
export function servicePort() {
  return type<number | string>(
    { name: 'port or its name', decode: 'text' },
    (raw) =>
      parseServicePort(raw) ?? new Refusal('write a number from 1 to 65535, or the name of a port of the Service'),
  );
}

/** In lower case; `*.suffix` and `*` only where `wildcards` are allowed. */
export function registryHost(options: { readonly wildcards: boolean }) {
  return type<string>({ name: 'host', decode: 'text' }, (raw) => {
    const host = typeof raw === 'string' ? parseHostPattern(raw) : undefined;
    if (host !== undefined && (options.wildcards || !host.startsWith('*'))) return host;
    const bare = parseHostPattern(
      String(raw ?? '')
        .replace(/^[a-z]+:\/\//i, '')
        .replace(/\/.*$/, ''),
    );
    const guess = bare === undefined || bare.startsWith('*') || bare === raw ? '' : `; did you mean ${bare}?`;
    const wild = options.wildcards ? ', *.example.com or *' : '';
    return new Refusal(`write host or host:port without scheme and path, as in registry.local:5000${wild}${guess}`);
  });
}

/** An http:// or https:// address without credentials, query and fragment; no slash at its end. */
export function httpUrl(options: { readonly mayBeEmpty?: boolean; readonly credentials?: boolean } = {}) {
  return type<string>({ name: 'URL', decode: 'text' }, (raw) => {
    if (raw === '' && options.mayBeEmpty === true) return '';
    const url = typeof raw === 'string' && /^https?:\/\//i.test(raw) && URL.canParse(raw) ? new URL(raw) : undefined;
    if (url === undefined) return new Refusal('write an address that begins with http:// or https://');
    if (url.search !== '' || url.hash !== '') return new Refusal('leave out what follows ? or #');
    if (options.credentials !== true && (url.username !== '' || url.password !== '')) {
      return new Refusal('leave the user name and password out: they belong in `credentials`');
    }
    return url.href.replace(/\/+$/, '');
  });
}

/** A list; one value alone is a list of it. */
export function list<T extends z.ZodType>(item: T, options: { readonly min?: number } = {}) {
  const min = options.min ?? 0;
  return z
    .preprocess((raw) => (Array.isArray(raw) ? raw : [raw]), z.array(item).min(min, { error: `write at least ${min}` }))
    .register(forms, { name: `list of ${forms.get(item)?.name ?? 'objects'}`, decode: 'list' });
}

function parsePeerAddress(raw: unknown): ListenAddress | Refusal {
  const address = typeof raw === 'string' ? parseListenAddress(raw) : undefined;
  if (address === undefined) return new Refusal('write host:port, as in 10.0.0.3:5052 or node-1.example:5052');
  return isWildcard(address) || address.port === 0 ? new Refusal(UNREACHABLE) : address;
}

function type<T>(form: Form, parse: (raw: unknown) => T | Refusal): z.ZodType<T, unknown> {
  return z
    .unknown()
    .transform((raw, context): T => {
      const value = parse(raw);
      if (!(value instanceof Refusal)) return value;
      context.addIssue({ code: 'custom', message: value.right, input: raw });
      return z.NEVER;
    })
    .register(forms, form);
}

/** A bare 0 in YAML is a number, and needs no unit. */
function quantityText(raw: unknown): string {
  return typeof raw === 'string' ? raw : typeof raw === 'number' ? String(raw) : '';
}

function withUnit(written: string, unitOf: (value: number) => string): string | undefined {
  return /^\d+(\.\d+)?$/.test(written) ? `${written}${unitOf(Number(written))}` : undefined;
}

/** Who writes 20 means GiB; who writes 25165824 has counted bytes. */
function bareSizeUnit(value: number): string {
  return value < 2 ** 20 ? 'GiB' : 'B';
}

function quantityHint(what: string, units: string | undefined, guess: string | undefined): string {
  const known = units === undefined ? '' : ` (units: ${units})`;
  return `write ${what}${known}${guess === undefined ? '' : `; did you mean ${guess}?`}`;
}
