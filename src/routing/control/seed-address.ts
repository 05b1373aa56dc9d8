import { isIP } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';

/** A multiaddress of `host:port`, `[v6]:port`, or of what is one already. @returns undefined if it is neither. */
export function seedAddress(text: string): string | undefined {
  try {
    if (text.startsWith('/')) return multiaddr(text).toString();
    const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    if (host === undefined || Number(port) < 1) return undefined;
    const version = isIP(host);
    const kind = version === 0 ? 'dns' : `ip${version}`;
    return multiaddr(`/${kind}/${host}/tcp/${port}`).toString();
  } catch {
    return undefined;
  }
}
