import type { ClientReport } from './client.ts';
import type { ContainerdReport } from './containerd.ts';
import type { Victim } from './killing.ts';
import type { NodeReport } from './nodes.ts';
import type { RegistryCounts } from './registry.ts';

/** Further away from 1.00×, "once" would be no honest word. */
const MAX_DEVIATION = 0.01;
/** What a killed writer had, and had not passed on yet, is fetched a second time. */
const MAX_RATIO_AFTER_KILL = 1.1;

export interface ImageFacts {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blobs: number;
  readonly manifests: number;
}

/** The second pull, in the middle of which an agent was killed. */
export interface KillMeasurements {
  readonly image: ImageFacts;
  /** One on each node. */
  readonly clients: readonly ClientReport[];
  readonly nodes: readonly NodeReport[];
  /** What agents asked of the registry. */
  readonly upstream: RegistryCounts;
  /** What clients asked of it themselves: the one whose agent died. */
  readonly direct: RegistryCounts;
  readonly victim: Victim | undefined;
  /** The node that was seen to go on in its place. */
  readonly successor: string | undefined;
  readonly getsOfVictimsBlob: number;
}

export interface DemoMeasurements {
  readonly image: ImageFacts;
  readonly agents: number;
  /** Until each had found all others; undefined: they did not. */
  readonly togetherMs: number | undefined;
  readonly clients: readonly ClientReport[];
  readonly nodes: readonly NodeReport[];
  /** What the registry had been asked when the clients were done. */
  readonly upstream: RegistryCounts;
  readonly containerd: ContainerdReport;
  /** Requests that reached the registry after that, while containerd pulled. */
  readonly upstreamRequestsOfContainerd: number;
  /** Undefined where there is but one agent. */
  readonly kill: KillMeasurements | undefined;
}

export interface DemoCheck {
  readonly held: boolean;
  /** What was to be shown, in words, with the figures measured. */
  readonly text: string;
}

export interface DemoResult extends DemoMeasurements {
  /** Bytes from upstream against the image's bytes. */
  readonly ratio: number;
  readonly servedBytes: number;
  readonly checks: readonly DemoCheck[];
  readonly ok: boolean;
}

export function judge(measured: DemoMeasurements): DemoResult {
  const { image, clients, upstream } = measured;
  const ratio = upstream.sentBytes / image.sizeBytes;
  const servedBytes = clients.reduce((sum, client) => sum + client.receivedBytes, 0);
  const checks = [
    ...checkTogether(measured),
    {
      held: Math.abs(ratio - 1) <= MAX_DEVIATION,
      text: `Upstream sent ${mib(upstream.sentBytes)} for ${mib(servedBytes)} served: the image's bytes ${ratio.toFixed(2)}×.`,
    },
    checkRequests(measured),
    ...checkClients(measured),
    ...checkContainerd(measured),
    ...(measured.kill === undefined ? [] : checkKill(measured.kill)),
  ];
  return { ...measured, ratio, servedBytes, checks, ok: checks.every((check) => check.held) };
}

function checkTogether({ agents, togetherMs }: DemoMeasurements): DemoCheck[] {
  if (agents === 1) return [];
  const text =
    togetherMs === undefined
      ? `${agents} agents did not find each other.`
      : `${agents} agents found each other, in ${(togetherMs / 1000).toFixed(1)} s.`;
  return [{ held: togetherMs !== undefined, text }];
}

function checkKill({ image, clients, upstream, victim, successor, getsOfVictimsBlob }: KillMeasurements): DemoCheck[] {
  const ratio = upstream.sentBytes / image.sizeBytes;
  const digests = image.blobs + image.manifests;
  const sound = clients.filter((client) => client.outcome === 'complete' && client.verified === digests);
  const alone = clients.filter((client) => client.directBytes > 0);
  const byItself = alone.map((client) => `${client.name} after ${mib(client.receivedBytes - client.directBytes)}`);
  return [
    checkVictim(victim, successor, getsOfVictimsBlob),
    {
      held: ratio >= 1 - MAX_DEVIATION && ratio <= MAX_RATIO_AFTER_KILL,
      text: `With an agent lost in the middle, the agents asked for ${ratio.toFixed(2)}× the image.`,
    },
    {
      held: sound.length === clients.length && alone.length <= 1,
      text:
        `${sound.length} of ${clients.length} clients have the second image whole` +
        (alone.length === 0 ? '.' : `; without its agent, client ${byItself.join(', ')} went to the registry itself.`),
    },
  ];
}

function checkVictim(victim: Victim | undefined, successor: string | undefined, gets: number): DemoCheck {
  if (victim === undefined) return { held: false, text: 'No agent was killed: none was seen to fetch.' };
  const { name, digest, written, blobBytes } = victim;
  const what = `${name} was killed at ${mib(written)} of ${mib(blobBytes)} of ${digest.slice(7, 19)}`;
  const held = gets > 1;
  return { held, text: held ? `${what}: ${successor ?? 'another'} went on.` : `${what}: nobody went on.` };
}

function checkRequests({ image, upstream }: DemoMeasurements): DemoCheck {
  const { requests } = upstream;
  const expected: Record<string, number> = { 'HEAD tag': 1, 'GET manifest': image.manifests, 'GET blob': image.blobs };
  const kinds = new Set([...Object.keys(expected), ...Object.keys(requests)]);
  const differing = [...kinds].filter((kind) => (requests[kind] ?? 0) !== (expected[kind] ?? 0));
  if (differing.length === 0 && upstream.mostGetsOfOne === 1) {
    return {
      held: true,
      text: `Upstream saw ${upstream.total} requests: one for each blob, each manifest and the tag.`,
    };
  }
  const list = differing.map((kind) => `${kind} ${requests[kind] ?? 0} instead of ${expected[kind] ?? 0}`).join(', ');
  return { held: false, text: `Upstream was asked otherwise than once: ${list || 'one digest more than once'}.` };
}

function checkClients({ image, clients }: DemoMeasurements): DemoCheck[] {
  const digests = image.blobs + image.manifests;
  const stayed = clients.filter((client) => client.manner !== 'quits');
  const sound = stayed.filter((client) => client.outcome === 'complete' && client.verified === digests);
  const checks: DemoCheck[] = [
    {
      held: sound.length === stayed.length,
      text: `${sound.length} of ${stayed.length} clients that stayed have the whole image, all ${digests} digests verified.`,
    },
  ];
  for (const client of clients.filter(({ manner }) => manner === 'quits')) {
    const held = client.outcome === 'quit' && client.receivedBytes < image.sizeBytes;
    const got = `after ${mib(client.receivedBytes)} of ${mib(image.sizeBytes)}`;
    checks.push({
      held,
      text: held
        ? `Client ${client.name} quit ${got}; nobody else noticed.`
        : `Client ${client.name} was to quit half way: ${client.outcome} ${got}.`,
    });
  }
  for (const client of clients.filter(({ manner }) => manner === 'ranges')) {
    const held = client.outcome === 'complete' && client.rangeRequests > 0;
    checks.push({
      held,
      text: held
        ? `Client ${client.name} asked for ${client.rangeRequests} ranges, second halves first, and got just those.`
        : `Client ${client.name} asked for ${client.rangeRequests} ranges: ${client.outcome}.`,
    });
  }
  return checks;
}

function checkContainerd({ containerd, upstreamRequestsOfContainerd: asked }: DemoMeasurements): DemoCheck[] {
  if (containerd.outcome === 'skipped') return [];
  const who = `containerd ${containerd.version}`;
  if (containerd.outcome === 'failed') return [{ held: false, text: `${who} could not pull: ${containerd.error}` }];
  const did = containerd.unpacked ? 'pulled and unpacked it' : 'pulled it';
  const saw = asked === 0 ? 'nothing new upstream' : `${asked} more requests reached upstream`;
  return [{ held: asked === 0, text: `A real ${who} ${did}: ${saw}.` }];
}

/** `72.0 MiB`; below one, `594 B` or `2.5 KiB`. */
export function mib(sizeBytes: number): string {
  if (sizeBytes < 1024) return `${sizeBytes} B`;
  if (sizeBytes < 1024 * 1024) return `${(sizeBytes / 1024).toFixed(1)} KiB`;
  return `${(sizeBytes / (1024 * 1024)).toFixed(1)} MiB`;
}
