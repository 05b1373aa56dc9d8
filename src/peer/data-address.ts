import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * What others are told to ask: as announced; else where it listens; behind a wildcard the first address of this
 * machine that is not its own loopback (IPv4 before IPv6).
 */
export function dataAddress(announce: string | undefined, host: string, port: number): string {
  if (announce !== undefined && announce !== '') return announce;
  const reachable = host === '0.0.0.0' || host === '::' ? ownAddress(host === '0.0.0.0') : host;
  return isIPv6(reachable) ? `[${reachable}]:${port}` : `${reachable}:${port}`;
}

function ownAddress(onlyIpv4: boolean): string {
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const first =
    all.find(({ family }) => family === 'IPv4') ?? (onlyIpv4 ? undefined : all.find(({ family }) => family === 'IPv6'));
  return first?.address ?? '127.0.0.1';
}

/** `[::1]:5051` and `10.0.0.3:5051`; undefined for anything else. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, v6, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  const port = Number(digits);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}
