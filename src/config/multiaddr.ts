import { isIP } from 'node:net';
import { type ListenAddress, parseListenAddress } from './listen-address.ts';

const FORM = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})$/;
/** A DNS name: labels of letters, digits, `-` and `_`; a dot at its end is allowed. */
const NAME = /^(?=.{1,254}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;

/**
 * Host and port of a multiaddr of the only form that agents use, TCP on an address or a name:
 * `/ip4/10.0.0.3/tcp/5052`, `/ip6/::/tcp/5052`, `/dns4/node-1.example/tcp/5052`; undefined for anything else.
 */
export function parseMultiaddr(text: string): ListenAddress | undefined {
  const [, protocol, host = '', port] = FORM.exec(text) ?? [];
  if (protocol === undefined) return undefined;
  const version = isIP(host);
  if (protocol === 'ip6') {
    const address = version === 6 && !host.includes('%') ? parseListenAddress(`[${host}]:${port}`) : undefined;
    return address && { ...address, v6Only: true };
  }
  if (protocol === 'ip4' ? version !== 4 : !isDnsName(host)) return undefined;
  const number = Number(port);
  return number > 65_535 ? undefined : { host: host.toLowerCase(), port: number };
}

/** No IP address: those have a form of their own. */
export function isDnsName(text: string): boolean {
  return NAME.test(text) && !/^[\d.]+$/.test(text);
}

/** `10.0.0.3:5052` as `/ip4/10.0.0.3/tcp/5052`. */
function toMultiaddr({ host, port }: ListenAddress): string {
  const version = isIP(host);
  return `/${version === 4 ? 'ip4' : version === 6 ? 'ip6' : 'dns'}/${host}/tcp/${port}`;
}

/** What somebody who wrote `0.0.0.0:5052` or a bare port meant; undefined where nothing is near. */
export function suggestMultiaddr(text: string): string | undefined {
  const port = /^:?(\d{1,5})$/.exec(text)?.[1];
  const address = parseListenAddress(port === undefined ? text : `0.0.0.0:${port}`);
  return address === undefined ? undefined : toMultiaddr(address);
}
