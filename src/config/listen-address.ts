import { isIP } from 'node:net';

/** Where a server listens. `host` has no brackets; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** `::` takes no IPv4 here, as libp2p listens; elsewhere it does. */
  readonly v6Only?: boolean;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9.-]+)):(\d{1,5})$/;

/** `127.0.0.1:5050`, `[::1]:5050`, `localhost:5050`; undefined for anything else. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, v6, name = '', digits] = ADDRESS.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535) return undefined;
  if (v6 !== undefined)
    return isIP(v6) === 6 ? { host: new URL(`http://[${v6}]`).hostname.slice(1, -1), port } : undefined;
  // A name of digits and dots that is no address ("127.0.1") would be looked up in the DNS.
  if (/^[\d.]+$/.test(name) && isIP(name) !== 4) return undefined;
  return { host: name.toLowerCase(), port };
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Would the second of the two fail to bind? `::` takes IPv4 as well (Node listens on both), unless it says v6Only. */
export function collide(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || covers(a, b.host) || covers(b, a.host);
}

/** Reachable from this machine alone. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Every address of this machine, or of one family: to listen on, never to be asked at. */
export function isWildcard({ host }: ListenAddress): boolean {
  return host === '0.0.0.0' || host === '::';
}

function covers(wildcard: ListenAddress, host: string): boolean {
  if (wildcard.host === '::') return wildcard.v6Only !== true || isIP(host) === 6;
  return wildcard.host === '0.0.0.0' && isIP(host) !== 6;
}
