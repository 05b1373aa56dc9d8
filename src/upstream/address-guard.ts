import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { WindlassError } from '../errors.ts';

export type SpecialAddress = 'loopback' | 'link-local' | 'metadata' | 'unspecified' | 'multicast' | 'reserved';

/** Private networks (10/8, 192.168/16, fd00::/8) are not here: registries of clusters live there. */
const SPECIAL: readonly (readonly [SpecialAddress, readonly string[]])[] = [
  ['loopback', ['127.0.0.0/8', '::1/128']],
  // Where clouds answer with the node's own credentials, outside of 169.254/16.
  ['metadata', ['169.254.169.254/32', 'fd00:ec2::254/128', '100.100.100.200/32', '168.63.129.16/32', '192.0.0.192/32']],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  ['unspecified', ['0.0.0.0/8', '::/128']],
  ['multicast', ['224.0.0.0/4', 'ff00::/8']],
  ['reserved', ['240.0.0.0/4']],
];

const LISTS = SPECIAL.map(([kind, subnets]) => {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', bits] = subnet.split('/');
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4');
  }
  return { kind, list };
});

/** @returns what is special about an IP address, looking into IPv6 that carries IPv4; undefined for all others. */
export function specialAddress(address: string): SpecialAddress | undefined {
  const bare = address.replace(/%.*$/, '');
  const carried = carriedIPv4(bare);
  const family = isIP(bare) === 6 ? 'ipv6' : 'ipv4';
  for (const { kind, list } of LISTS) {
    if (list.check(bare, family) || (carried !== undefined && list.check(carried, 'ipv4'))) return kind;
  }
  return undefined;
}

/** IPv4-mapped, IPv4-compatible, NAT64 (64:ff9b::/96) and 6to4 (2002::/16) addresses reach an IPv4 host. */
function carriedIPv4(address: string): string | undefined {
  if (isIP(address) !== 6) return undefined;
  const groups = expandIPv6(address);
  const dotted = (high = 0, low = 0): string => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  if (groups[0] === 0x2002) return dotted(groups[1], groups[2]);
  const head = groups.slice(0, 6).join(':');
  const carries = head === '0:0:0:0:0:65535' || head === `${0x64}:${0xff9b}:0:0:0:0`;
  const compatible = head === '0:0:0:0:0:0' && groups[6] !== 0;
  return carries || compatible ? dotted(groups[6], groups[7]) : undefined;
}

function expandIPv6(address: string): number[] {
  // The URL parser writes every form (dotted tail, capitals, zeros) in one way.
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [left = '', right] = plain.split('::');
  const parse = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const head = parse(left);
  const tail = right === undefined ? [] : parse(right);
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

/** Of a URL: `localhost`, a name below it, or a loopback literal (in brackets if IPv6). */
export function isLoopbackName(hostname: string): boolean {
  const name = bareHostname(hostname);
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return isIP(name) !== 0 && specialAddress(name) === 'loopback';
}

/** Is this host of a URL itself an address (or a name of this machine) that needs the operator's word? */
export function isSpecialHost(hostname: string): boolean {
  return kindOfName(bareHostname(hostname)) !== undefined;
}

function bareHostname(hostname: string): string {
  return hostname
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
}

export interface AddressGuardOptions {
  readonly endpoint: URL;
  /** The operator wrote the endpoint's host, and not by a wildcard: its addresses are taken on trust. */
  readonly endpointTrusted: boolean;
  readonly lookup?: typeof dnsLookup | undefined;
}

/**
 * What one registry, its redirects and its token servers may be connected to. The check is made on the addresses
 * that the connection then uses (`lookup`), so a name that resolves differently the second time gains nothing.
 */
export class AddressGuard {
  readonly #trustedHostname: string | undefined;
  /** A registry on loopback may send to loopback, one on link-local to link-local. */
  readonly #trustedKind: SpecialAddress | undefined;
  readonly #lookup: typeof dnsLookup;

  constructor(options: AddressGuardOptions) {
    const hostname = bareHostname(options.endpoint.hostname);
    this.#trustedHostname = options.endpointTrusted ? hostname : undefined;
    this.#trustedKind = options.endpointTrusted ? kindOfName(hostname) : undefined;
    this.#lookup = options.lookup ?? dnsLookup;
  }

  /** @throws REGISTRY_DENIED if the URL's host is itself an address that may not be connected to. */
  check(url: URL): void {
    const hostname = bareHostname(url.hostname);
    const kind = kindOfName(hostname);
    if (kind !== undefined && !this.#permits(hostname, kind)) throw denied(hostname, kind);
  }

  /** For `net.connect`: resolves, and leaves out what may not be connected to. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const permitted: LookupAddress[] = [];
      let refused: SpecialAddress | undefined;
      for (const entry of addresses) {
        const kind = specialAddress(entry.address);
        if (kind === undefined || this.#permits(bareHostname(hostname), kind)) permitted.push(entry);
        else refused = kind;
      }
      const first = permitted[0];
      if (first === undefined) return callback(denied(hostname, refused), []);
      if (options.all === true) callback(null, permitted);
      else callback(null, first.address, first.family);
    });
  };

  #permits(hostname: string, kind: SpecialAddress): boolean {
    return hostname === this.#trustedHostname || kind === this.#trustedKind;
  }
}

function kindOfName(hostname: string): SpecialAddress | undefined {
  if (isLoopbackName(hostname)) return 'loopback';
  return isIP(hostname) === 0 ? undefined : specialAddress(hostname);
}

function denied(hostname: string, kind: SpecialAddress | undefined): WindlassError {
  return new WindlassError('REGISTRY_DENIED', `${hostname} is ${kind ?? 'no'} address: not connected to`);
}
