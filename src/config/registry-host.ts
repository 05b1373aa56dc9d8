const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::([0-9]{1,5}))?$/;
const SUFFIX = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::([0-9]{1,5}))?$/;
const MAX_LENGTH = 261;

/** The allow-list's `host`, in lower case: `host[:port]`, `*.suffix[:port]` or `*`; undefined for anything else. */
export function parseHostPattern(text: string): string | undefined {
  const host = text.toLowerCase();
  if (host === '*') return host;
  if (host.length > MAX_LENGTH || host.includes('..')) return undefined;
  const match = host.startsWith('*.') ? SUFFIX.exec(host.slice(2)) : HOST.exec(host);
  if (match === null) return undefined;
  const port = match[1];
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535) ? host : undefined;
}

/** Is it a host that the pattern allows? Both in lower case. */
export function matchesHostPattern(pattern: string, host: string): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*.')
    ? host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1
    : pattern === host;
}
