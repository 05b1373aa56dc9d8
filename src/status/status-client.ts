import { request } from 'undici';
import { formatListenAddress, type ListenAddress } from '../config/listen-address.ts';
import { systemCode, WindlassError } from '../errors.ts';
import type { AgentStatus } from './agent-status.ts';

/** Where an agent of this machine that listens there is asked. @throws INVALID_SETTINGS: the port is not known */
export function statusUrl({ host, port }: ListenAddress): string {
  if (port === 0) {
    throw new WindlassError('INVALID_SETTINGS', 'status.listen leaves the port to the system; --url says which it is');
  }
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${formatListenAddress({ host: reachable, port })}`;
}

/** What somebody wrote as an agent's address, as in `10.0.0.3:5053`. @throws INVALID_SETTINGS */
export function parseStatusUrl(text: string): string {
  const url = /^https?:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url)) throw new WindlassError('INVALID_SETTINGS', `--url: no address: ${text}`);
  return new URL(url).origin;
}

/** What an agent says of itself. @throws PEER_GONE: nobody there, or no agent */
export async function readStatus(url: string, signal: AbortSignal): Promise<AgentStatus> {
  const refused = (why: string, cause?: unknown) =>
    new WindlassError('PEER_GONE', `no agent answers at ${url} (${why}); --url says where one is`, { cause });
  let statusCode: number;
  let body: unknown;
  try {
    // Not fetch: it refuses some ports that are as good as any.
    const response = await request(new URL('/status', url), { signal });
    statusCode = response.statusCode;
    body = await response.body.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw refused('what answers is no agent', error);
    const isSilent = error instanceof Error && error.name === 'TimeoutError';
    throw refused(isSilent ? 'it is silent' : (systemCode(error) ?? String(error)), error);
  }
  if (statusCode !== 200 || !isStatus(body)) throw refused('what answers is no agent, or one of another version');
  return body;
}

/** Of an agent that is newer or older by a version: what is shown must be there. */
function isStatus(body: unknown): body is AgentStatus {
  if (typeof body !== 'object' || body === null) return false;
  const { node, peers, transfers, totals, store } = body as Partial<AgentStatus>;
  return (
    typeof node === 'string' &&
    Array.isArray(peers) &&
    Array.isArray(transfers) &&
    typeof totals === 'object' &&
    typeof store === 'object'
  );
}
