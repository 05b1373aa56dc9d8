import { BlockList, isIP } from 'node:net';
import { WindlassError } from '../errors.ts';
import { isLoopbackName } from './address-guard.ts';

export interface ProxyChoiceOptions {
  /** Of all requests that NO_PROXY does not except; empty: HTTPS_PROXY and HTTP_PROXY say. */
  readonly proxy: string;
  readonly env: NodeJS.ProcessEnv;
}

type Exception = (hostname: string, port: string) => boolean;

/**
 * Which proxy a request goes through, by the rules of Go's clients (containerd, kubelet), so that one node has one
 * behaviour: NO_PROXY takes names (with the names below them), `.names` (only those below), addresses and CIDRs,
 * each with an optional port; this machine is never asked through a proxy.
 */
export class ProxyChoice {
  readonly #https: string | undefined;
  readonly #http: string | undefined;
  readonly #exceptions: readonly Exception[];

  /** @throws INVALID_SETTINGS if a proxy is not a URL. */
  constructor({ proxy, env }: ProxyChoiceOptions) {
    const variable = (name: string): string => env[name] || env[name.toLowerCase()] || '';
    this.#https = proxyUrl(proxy || variable('HTTPS_PROXY'), proxy === '' ? 'HTTPS_PROXY' : 'upstream.proxy');
    this.#http = proxyUrl(proxy || variable('HTTP_PROXY'), proxy === '' ? 'HTTP_PROXY' : 'upstream.proxy');
    this.#exceptions = variable('NO_PROXY')
      .split(/[,\s]+/)
      .filter((entry) => entry !== '')
      .map(exception);
  }

  /** @returns the proxy's URL, or undefined for a direct connection. */
  proxyFor(url: URL): string | undefined {
    const proxy = url.protocol === 'https:' ? this.#https : this.#http;
    if (proxy === undefined || isLoopbackName(url.hostname)) return undefined;
    const hostname = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return this.#exceptions.some((excepts) => excepts(hostname, port)) ? undefined : proxy;
  }
}

function proxyUrl(text: string, where: string): string | undefined {
  if (text === '') return undefined;
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url) || !/^(?:https?|socks5?):$/.test(new URL(url).protocol)) {
    // Not quoted: it may carry a password.
    throw new WindlassError('INVALID_SETTINGS', `${where} is not the URL of a proxy (expected http://host:port)`);
  }
  return new URL(url).href;
}

function exception(entry: string): Exception {
  if (entry === '*') return () => true;
  const cidr = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(entry);
  if (cidr !== null) return inSubnet(cidr[1] ?? '', Number(cidr[2]));
  const [, bracketed, name = bracketed ?? '', onlyPort] = /^(?:\[(.+)\]|(.*?))(?::(\d+))?$/.exec(entry) ?? [];
  const bare = isIP(entry) === 6 ? entry : name;
  const hasPort = isIP(entry) !== 6 && onlyPort !== undefined;
  const portFits = (port: string): boolean => !hasPort || port === onlyPort;
  const suffix = bare.replace(/^\*/, '').toLowerCase();
  if (suffix.startsWith('.')) return (hostname, port) => portFits(port) && hostname.endsWith(suffix);
  return (hostname, port) => portFits(port) && (hostname === suffix || hostname.endsWith(`.${suffix}`));
}

function inSubnet(address: string, bits: number): Exception {
  const list = new BlockList();
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(address) === 0 || bits > (family === 'ipv6' ? 128 : 32)) return () => false;
  list.addSubnet(address, bits, family);
  return (hostname) => isIP(hostname) !== 0 && list.check(hostname, isIP(hostname) === 6 ? 'ipv6' : 'ipv4');
}
