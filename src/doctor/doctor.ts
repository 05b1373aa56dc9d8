import { readContainerdConfig } from '../containerd/config-files.ts';
import type { ContainerdConfig } from '../containerd/config-path.ts';
import { systemCode } from '../errors.ts';
import { checkAgent } from './agent-check.ts';
import { checkClock } from './clock-check.ts';
import { checkConfigPath } from './config-path-check.ts';
import { checkDisk } from './disk-check.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckName, type CheckResult, result, skipped } from './finding.ts';
import { checkHosts } from './hosts-check.ts';
import type { ImageName } from './image-name.ts';
import { checkLayers } from './layers-check.ts';
import { checkLimits } from './limits-check.ts';
import { checkMirror } from './mirror-check.ts';
import { checkPeers } from './peers-check.ts';
import { checkPull } from './pull-check.ts';
import { checkRuntime } from './runtime-check.ts';
import { pathHere, type Subject } from './subject.ts';

export interface DoctorOptions {
  /** To be asked for through the mirror, upstream included. */
  readonly image?: ImageName | undefined;
  /** Has containerd pull, which takes its socket. */
  readonly pull: boolean;
}

/**
 * Looks at all of a node, whatever fails on the way: what cannot be looked at is a finding itself.
 *
 * ```
 *  agent ─▶ peers, limits        runtime ─▶ config_path, layers ─┐
 *  disk, clock                   hosts.toml ─────────────────────┼▶ pull
 *                                mirror ─────────────────────────┘
 * ```
 */
export async function diagnose(subject: Subject, options: DoctorOptions): Promise<readonly CheckResult[]> {
  // Of each run its own, so that no answer is one that was remembered.
  const tag = `t${Date.now().toString(36)}`;
  const asked = guarded(subject, 'mirror', () => checkMirror(subject, options.image, tag));
  const [agentPart, runtimePart, mirror, disk, clock] = await Promise.all([
    agentChecks(subject),
    runtimeChecks(subject, options, asked, tag),
    asked,
    guarded(subject, 'disk', () => checkDisk(subject)),
    guarded(subject, 'clock', () => checkClock(subject)),
  ]);
  const [agent, ...others] = agentPart;
  const [runtime, config, hosts, layers, pull] = runtimePart;
  const [peers, limits] = others;
  return [agent, runtime, config, hosts, layers, mirror, pull, peers, clock, disk, limits];
}

async function agentChecks(subject: Subject): Promise<readonly [CheckResult, CheckResult, CheckResult]> {
  const agent = await guarded(subject, 'agent', () => checkAgent(subject));
  const answer = 'answer' in agent ? agent.answer : undefined;
  const peers =
    answer === undefined
      ? skipped('peers', 'the agent knows them, and does not answer')
      : await guarded(subject, 'peers', () => checkPeers(subject, answer.status));
  return [agent, peers, await guarded(subject, 'limits', () => checkLimits(subject, answer?.maxOpenFiles))];
}

type RuntimeChecks = readonly [CheckResult, CheckResult, CheckResult, CheckResult, CheckResult];

async function runtimeChecks(
  subject: Subject,
  options: DoctorOptions,
  mirror: Promise<CheckResult>,
  tag: string,
): Promise<RuntimeChecks> {
  // Only now: grpc is slow to load.
  const { socketCalls } = await import('../containerd/socket-calls.ts');
  using calls = socketCalls(await pathHere(subject, subject.paths.socket));
  const runtime = await guarded(subject, 'runtime', () => checkRuntime(subject, calls));
  if ('isOther' in runtime && runtime.isOther) {
    const not = (check: CheckName) => skipped(check, 'containerd is not here');
    return [runtime, not('config_path'), not('hosts.toml'), not('layers'), not('pull')];
  }
  const version = 'version' in runtime ? runtime.version : undefined;
  let files: readonly ContainerdConfig[] = [];
  const config = await guarded(subject, 'config_path', async () => {
    files = await readContainerdConfig(subject.paths.configFile, subject.root);
    return checkConfigPath(subject, files, version);
  });
  const hosts = await guarded(subject, 'hosts.toml', () => checkHosts(subject));
  const layers = await guarded(subject, 'layers', async () => checkLayers(subject, files, version));
  const unserved = new Set((await mirror).findings.flatMap(({ about = [] }) => about));
  const mirrored = ('mirrored' in hosts ? hosts.mirrored : []).filter((host) => !unserved.has(host));
  const why = whyNoPull(options, version, [config, await mirror], mirrored);
  const pull =
    why === undefined
      ? await guarded(subject, 'pull', () => checkPull(subject, calls, mirrored, files, tag))
      : skipped('pull', why);
  const [configJudged, pullJudged] = judged(config, pull);
  return [runtime, configJudged, hosts, layers, pullJudged];
}

/** Which folders containerd takes when there is a list, or nothing, depends on more than its files tell: a pull shows it. */
const SHOWN_BY_PULL = new Set(['config-path-list', 'config-path-unset']);

/** One cause is one finding: it is a warning where a pull came through all the same, and the reason where none did. */
export function judged(config: CheckResult, pull: CheckResult): [config: CheckResult, pull: CheckResult] {
  const isShown = config.findings.some(({ code, severity }) => SHOWN_BY_PULL.has(code) && severity === 'error');
  if (!isShown || pull.skipped) return [config, pull];
  if (pull.findings.length > 0) {
    const others = pull.findings.filter(({ code }) => !code.startsWith('pull-passes-by'));
    const why = `${pull.seen}: config_path is to be mended first`;
    return [config, others.length === 0 ? skipped('pull', why) : { ...pull, findings: others }];
  }
  const findings = config.findings.map((finding) =>
    SHOWN_BY_PULL.has(finding.code) ? { ...finding, severity: 'warning' as const } : finding,
  );
  return [{ ...config, findings }, pull];
}

/** A pull that is known to pass by the mirror proves nothing, and asks registries for what they do not have. */
function whyNoPull(
  { pull }: DoctorOptions,
  version: string | undefined,
  [config, mirror]: readonly [CheckResult, CheckResult],
  mirrored: readonly string[],
): string | undefined {
  if (!pull) return 'not wanted (--no-pull)';
  if (version === undefined) return 'containerd does not answer';
  if (config.findings.some(({ code, severity }) => severity === 'error' && !SHOWN_BY_PULL.has(code))) {
    return 'config_path is to be mended first';
  }
  if (mirror.findings.some(({ code }) => code === 'mirror-away')) return 'the mirror does not answer';
  return mirrored.length === 0 ? 'no hosts.toml names the mirror first for a registry that it serves' : undefined;
}

/** Of a check that allows itself less: a disk or a socket that hangs must not keep the rest from being told. */
const DEADLINE_TIMES = 12;
/** It pulls from each registry, one after another. */
const PULL_DEADLINE_TIMES = 180;

/** One check's failure hides nothing of the others, and nor does one that never ends. */
async function guarded<T extends CheckResult>(
  { answerMs }: Subject,
  check: CheckName,
  look: () => Promise<T>,
): Promise<T | CheckResult> {
  const overdue = Promise.withResolvers<never>();
  const deadlineMs = answerMs * (check === 'pull' ? PULL_DEADLINE_TIMES : DEADLINE_TIMES);
  const timer = setTimeout(() => overdue.reject(new Error(`no end after ${deadlineMs / 1000} s`)), deadlineMs);
  try {
    return await Promise.race([look(), overdue.promise]);
  } catch (error) {
    const code = systemCode(error);
    const message = error instanceof Error ? error.message : String(error);
    const isDenied = code === 'EACCES' || code === 'EPERM';
    return result(check, 'could not be looked at', [
      {
        code: `${check}-unknown`,
        severity: 'error',
        what: `this could not be looked at: ${message}`,
        mend: isDenied ? 'run windlass doctor as root' : 'see whether that file or folder is as it should be',
        docs: DOCUMENTS.hostsToml,
      },
    ]);
  } finally {
    clearTimeout(timer);
  }
}
