import { stat } from 'node:fs/promises';
import type { ContainerdConfig } from '../containerd/config-path.ts';
import { unless } from '../containerd/if-there.ts';
import type { SocketCalls } from '../containerd/socket-calls.ts';
import { PROBE_REPOSITORY, probeImage } from '../oci/probe-image.ts';
import { DOCUMENTS, RESTART, restartHere } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result } from './finding.ts';
import { wasAsked } from './mirror-check.ts';
import { pathHere, type Subject } from './subject.ts';

/** A pull is several answers, and unpacking. */
const PULL_TIMES = 6;
/** After so many that did not come through, the rest is not tried: each may wait for a registry that is away. */
const ENOUGH_FAILURES = 2;
/** grpc's: no such service. */
const UNIMPLEMENTED = 12;

/**
 * Has containerd pull as the kubelet would, from each registry, an image that only the mirror has, and remove it again.
 * @param hosts those whose files name the mirror, and that it answers for: it is asked for no others
 * @param run of this run alone, so that nothing of an earlier one is found
 */
export async function checkPull(
  subject: Subject,
  calls: Pick<SocketCalls, 'pullImage' | 'removeImage'>,
  hosts: readonly string[],
  files: readonly ContainerdConfig[],
  run: string,
): Promise<CheckResult> {
  // Not that by which the mirror itself was asked: it tells of each whether it was.
  const tag = `${run}-pull`;
  const passed: string[] = [];
  const failed: { readonly host: string; readonly error: unknown }[] = [];
  for (const host of hosts) {
    const reference = `${host}/${PROBE_REPOSITORY}:${tag}`;
    try {
      await pull(calls, reference, PULL_TIMES * subject.answerMs);
      passed.push(host);
    } catch (error) {
      failed.push({ host, error });
      if (codeOf(error) === UNIMPLEMENTED || failed.length === ENOUGH_FAILURES) break;
    }
  }
  const seen = `containerd pulled through the mirror from ${passed.length} of ${hosts.length} registries`;
  if (failed.length === 0) return result('pull', seen);
  return result('pull', seen, [await findingOf(subject, failed, files, tag)]);
}

async function pull(
  calls: Pick<SocketCalls, 'pullImage' | 'removeImage'>,
  reference: string,
  timeoutMs: number,
): Promise<void> {
  const [config] = probeImage().blobs;
  try {
    const id = await calls.pullImage(reference, { timeoutMs });
    if (id !== config?.digest) throw new Error(`it got another image, ${id}`);
  } finally {
    // What is left of it is an empty image that the kubelet removes some day.
    await calls.removeImage(reference, { timeoutMs }).catch(() => undefined);
  }
}

async function findingOf(
  subject: Subject,
  failed: readonly { readonly host: string; readonly error: unknown }[],
  files: readonly ContainerdConfig[],
  tag: string,
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
  const said = first?.error instanceof Error ? first.error.message.slice(0, 400) : String(first?.error);
  const passedBy = `containerd did not pull through the mirror from ${firstOf(hosts)}, although the files say so`;
  if (await changedSinceStart(subject, files)) {
    return {
      code: 'pull-passes-by-restart',
      severity: 'error',
      what: `${passedBy}, and ${paths.configFile} has changed since containerd was started. It says: ${said}`,
      mend: `restart containerd, which reads its configuration only then. ${restartHere(preset)}`,
      docs: RESTART[preset].docs,
      about: hosts,
    };
  }
  const [seen, mend] = WHERE_IT_ENDED[String(await wasAsked(subject, first?.host ?? '', tag))] ?? UNKNOWN_END;
  return {
    code: 'pull-passes-by',
    severity: 'error',
    what: `${passedBy}${seen}. It says: ${said}`,
    mend,
    docs: DOCUMENTS.hostsToml,
    about: hosts,
  };
}

const CONFIG_IN_EFFECT =
  'see what config_path containerd runs with (containerd config dump; crictl info), and whether another file or a command-line flag sets it';
const UNKNOWN_END: readonly [seen: string, mend: string] = ['', CONFIG_IN_EFFECT];

/** By whether the mirror saw the tag that containerd was to pull. */
const WHERE_IT_ENDED: Readonly<Record<string, readonly [seen: string, mend: string]>> = {
  true: [
    '; it did ask the mirror, and the pull failed after that',
    "see containerd's log for what failed: the mirror's answers, unpacking, or the disk",
  ],
  false: ['; the mirror was not asked', CONFIG_IN_EFFECT],
};

/** containerd makes its socket anew each time it starts. */
async function changedSinceStart(subject: Subject, files: readonly ContainerdConfig[]): Promise<boolean> {
  const [started, ...changes] = await Promise.all(
    [subject.paths.socket, ...files.map(({ path }) => path)].map(async (path) =>
      unless(stat(await pathHere(subject, path)), 'ENOENT'),
    ),
  );
  return changes.some((change) => change !== undefined && started !== undefined && change.mtimeMs > started.mtimeMs);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
