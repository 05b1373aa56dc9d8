import { EnvHttpProxyAgent } from 'undici';
import { endpointOf } from '../upstream/endpoint.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, result, skipped } from './finding.ts';
import type { Subject } from './subject.ts';

/** Registries that are asked, at once. */
const MOST_ASKED = 3;
/** A Date has whole seconds, and tokens of registries live for a minute at least. */
const MOST_APART_MS = 30_000;
/** This code is younger. */
const EARLIEST = Date.parse('2026-01-01T00:00:00Z');

/**
 * Does this node know the time? Agents tell each other ages, not times, but certificates and tokens of registries count
 * by it. Registries tell theirs in each answer; the first one that does is taken.
 */
export async function checkClock(subject: Subject, now: () => number = Date.now): Promise<CheckResult> {
  if (now() < EARLIEST) {
    const what = `the clock says ${new Date(now()).toISOString()}: certificates of registries are not valid yet, and every pull from upstream fails`;
    return result('clock', new Date(now()).toISOString(), [finding('clock-unset', 'error', what)]);
  }
  const told = await firstDate(subject, now);
  if (told === undefined) return skipped('clock', 'no registry answered, so the clock was compared with none');
  const apartMs = Math.max(0, Math.abs(told.apartMs) - 1_000);
  const seen = `${apartMs === 0 ? 'within a second' : `${Math.round(apartMs / 1000)} s`} of that of ${told.host}`;
  if (apartMs <= MOST_APART_MS) return result('clock', seen);
  const way = told.apartMs > 0 ? 'behind' : 'ahead of';
  const what = `the clock of this node is ${Math.round(apartMs / 1000)} s ${way} that of ${told.host}: tokens and certificates of registries are taken for expired, or for not valid yet`;
  return result('clock', seen, [finding('clock-apart', 'warning', what)]);
}

function finding(code: string, severity: Finding['severity'], what: string): Finding {
  const mend =
    'have it set over the network: chronyc tracking, or timedatectl, says what it follows; kubelet and etcd need that as well';
  return { code, severity, what, mend, docs: DOCUMENTS.chrony };
}

interface Told {
  readonly host: string;
  /** The registry's time minus ours. */
  readonly apartMs: number;
}

async function firstDate({ settings, answerMs }: Subject, now: () => number): Promise<Told | undefined> {
  const asked = settings.registries.filter(({ host }) => !host.startsWith('*')).slice(0, MOST_ASKED);
  const { proxy } = settings.upstream;
  // Only the time is taken, and with a wrong clock no certificate could be told from a bad one.
  const dispatcher = new EnvHttpProxyAgent({
    ...(proxy === '' ? {} : { httpProxy: proxy, httpsProxy: proxy }),
    connect: { rejectUnauthorized: false },
    requestTls: { rejectUnauthorized: false },
  });
  try {
    return await Promise.any(
      asked.map(async ({ host, endpoint }): Promise<Told> => {
        const sentMs = now();
        const { headers, body } = await dispatcher.request({
          origin: endpointOf(host, endpoint).origin,
          path: '/v2/',
          method: 'GET',
          signal: AbortSignal.timeout(answerMs),
        });
        const apartMs = Date.parse(String(headers.date)) - (sentMs + now()) / 2;
        // Nobody reads it.
        body.on('error', () => {}).destroy();
        if (Number.isNaN(apartMs)) throw new Error('it tells no time');
        return { host, apartMs };
      }),
    );
  } catch {
    return undefined;
  } finally {
    await dispatcher.destroy();
  }
}
