import { stat } from 'node:fs/promises';
import type { ContainerdConfig } from '../containerd/config-path.ts';
import { unless } from '../containerd/if-there.ts';
import type { SocketCalls } from '../containerd/socket-calls.ts';
import { PROBE_REPOSITORY, probeImage } from '../oci/probe-image.ts';
import { DOCUMENTS, RESTART, restartHere } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result } from './finding.ts';
import { pathHere, type Subject } from './subject.ts';

const PULL_MS = 30_000;
const REMOVE_MS = 10_000;
/** After so many that did not come through, the rest is not tried: each may wait for a registry that is away. */
const ENOUGH_FAILURES = 2;
/** grpc's: no such service. */
const UNIMPLEMENTED = 12;

/**
 * Has containerd pull as the kubelet would, from each registry, an image that only the mirror has, and remove it again.
 * @param hosts those whose files name the mirror: it is asked for no others
 */
export async function checkPull(
  subject: Subject,
  calls: Pick<SocketCalls, 'pullImage' | 'removeImage'>,
  hosts: readonly string[],
  files: readonly ContainerdConfig[],
  tag: string,
): Promise<CheckResult> {
  const passed: string[] = [];
  const failed: { readonly host: string; readonly error: unknown }[] = [];
  for (const host of hosts) {
    const reference = `${host}/${PROBE_REPOSITORY}:${tag}`;
    try {
      await pull(calls, reference);
      passed.push(host);
    } catch (error) {
      failed.push({ host, error });
      if (codeOf(error) === UNIMPLEMENTED || failed.length === ENOUGH_FAILURES) break;
    }
  }
  const seen = `containerd pulled through the mirror from ${passed.length} of ${hosts.length} registries`;
  if (failed.length === 0) return result('pull', seen);
  return result('pull', seen, [await findingOf(subject, failed, files)]);
}

async function pull(calls: Pick<SocketCalls, 'pullImage' | 'removeImage'>, reference: string): Promise<void> {
  const [config] = probeImage().blobs;
  try {
    const id = await calls.pullImage(reference, { timeoutMs: PULL_MS });
    if (id !== config?.digest) throw new Error(`it got another image, ${id}`);
  } finally {
    // What is left of it is an empty image that the kubelet removes some day.
    await calls.removeImage(reference, { timeoutMs: REMOVE_MS }).catch(() => undefined);
  }
}

async function findingOf(
  subject: Subject,
  failed: readonly { readonly host: string; readonly error: unknown }[],
  files: readonly ContainerdConfig[],
): Promise<Finding> {
  const { settings, paths } = subject;
  const hosts = failed.map(({ host }) => host);
  const [first] = failed;
  const { preset } = settings.containerd;
  if (codeOf(first?.error) === UNIMPLEMENTED) {
    return {
      code: 'cri-off',
      severity: 'error',
      what: "containerd's CRI plugin does not run, so no kubelet pulls here",
      mend: `take "cri" out of disabled_plugins in ${paths.configFile} (Docker's packages put it there), see containerd's log for why it did not load, and restart containerd. ${restartHere(preset)}`,
      docs: DOCUMENTS.criConfig,
    };
  }
  const isOlder = await changedSinceStart(subject, files);
  const since = isOlder ? `, and ${paths.configFile} has changed since containerd was started` : '';
  const said = first?.error instanceof Error ? first.error.message.slice(0, 400) : String(first?.error);
  return {
    code: isOlder ? 'pull-passes-by-restart' : 'pull-passes-by',
    severity: 'error',
    what: `containerd did not pull through the mirror from ${firstOf(hosts)}, although the files say so${since}. It says: ${said}`,
    mend: `restart containerd, which reads its configuration only then. ${restartHere(preset)}. If that does not help, see what config_path it was started with (crictl info; containerd config dump)`,
    docs: RESTART[preset].docs,
    about: hosts,
  };
}

/** containerd makes its socket anew each time it starts. */
async function changedSinceStart(subject: Subject, files: readonly ContainerdConfig[]): Promise<boolean> {
  const [started, ...changes] = await Promise.all(
    [subject.paths.socket, ...files.map(({ path }) => path)].map((path) =>
      unless(stat(pathHere(subject, path)), 'ENOENT'),
    ),
  );
  return changes.some((change) => change !== undefined && started !== undefined && change.mtimeMs > started.mtimeMs);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
