import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { Settings } from '../config/settings.ts';
import { unless } from '../containerd/if-there.ts';
import { systemCode } from '../errors.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, result } from './finding.ts';
import type { Subject } from './subject.ts';

export interface Limits {
  /** Of the agent's process; undefined where it is not known. */
  readonly openFiles: number | undefined;
  /** net.core.somaxconn */
  readonly backlog: number | undefined;
  /** Why no inotify instance or watch can be had: EMFILE, ENOSPC. */
  readonly inotify: string | undefined;
}

/** What Node asks for when it listens. */
const NODES_BACKLOG = 511;
/** Connections of other agents, at most; and files of the store, registries and everything else. */
const PEER_CONNECTIONS = 4_096;
const OTHER_FILES = 1_024;

/** Do the kernel's limits suit? @param openFiles of the agent's process */
export async function checkLimits({ settings }: Subject, openFiles: number | undefined): Promise<CheckResult> {
  const backlog = await unless(readFile('/proc/sys/net/core/somaxconn', 'utf8'), 'ENOENT', 'EACCES');
  const limits: Limits = {
    openFiles,
    backlog: backlog === undefined ? undefined : Number(backlog),
    inotify: inotifyFault(),
  };
  const seen = `open files of the agent ${openFiles ?? 'not known'}, somaxconn ${limits.backlog ?? 'not known'}`;
  return result('limits', seen, limitFindings(limits, settings));
}

export function limitFindings({ openFiles, backlog, inotify }: Limits, settings: Settings): Finding[] {
  const { maxConnections } = settings.mirror;
  const wanted = maxConnections + OTHER_FILES + (settings.discovery.kind === 'none' ? 0 : PEER_CONNECTIONS);
  const findings: Finding[] = [];
  const warn = (code: string, what: string, mend: string, docs: string) =>
    findings.push({ code, severity: 'warning', what, mend, docs });
  if (openFiles !== undefined && openFiles < wanted) {
    warn(
      'limit-open-files',
      `the agent may have ${openFiles} files and connections open; with mirror.maxConnections ${maxConnections} it may come to ${wanted}`,
      `raise the limit (LimitNOFILE=${wanted} in the agent's unit, or in that of containerd for Pods), or lower mirror.maxConnections`,
      DOCUMENTS.openFiles,
    );
  }
  if (backlog !== undefined && backlog < NODES_BACKLOG) {
    warn(
      'limit-backlog',
      `net.core.somaxconn is ${backlog}: when many nodes or Pods connect at once, connections beyond that are dropped, and tried again a second later`,
      `sysctl -w net.core.somaxconn=4096 (the default since Linux 5.4), and in /etc/sysctl.d; then restart the agent`,
      DOCUMENTS.somaxconn,
    );
  }
  if (inotify !== undefined) {
    const name = inotify === 'ENOSPC' ? 'max_user_watches' : 'max_user_instances';
    warn(
      'limit-inotify',
      `no file can be watched any more (${inotify}): containerd and kubelet need inotify when they start, so a restart of them would fail`,
      `raise fs.inotify.${name} (sysctl -w, and in /etc/sysctl.d), before containerd is restarted`,
      DOCUMENTS.inotify,
    );
  }
  return findings;
}

/** The limits are a user's, all together: trying says whether they are reached. */
function inotifyFault(): string | undefined {
  try {
    watch(tmpdir(), { persistent: false }).close();
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    return code === 'EMFILE' || code === 'ENOSPC' ? code : undefined;
  }
}
