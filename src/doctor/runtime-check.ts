import type { SocketCalls } from '../containerd/socket-calls.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, result } from './finding.ts';
import { otherRuntimes } from './other-runtimes.ts';
import type { Subject } from './subject.ts';

const OLDEST_MINOR = 6;

export interface RuntimeCheck extends CheckResult {
  /** `v2.3.4`; undefined where containerd did not say. */
  readonly version: string | undefined;
  /** There is something else here that pulls images, and no containerd. */
  readonly isOther: boolean;
}

/** Which runtime is here, and does it answer? */
export async function checkRuntime(subject: Subject, calls: Pick<SocketCalls, 'version'>): Promise<RuntimeCheck> {
  const others = await otherRuntimes(subject);
  const { socket } = subject.paths;
  const answer = await calls.version({ timeoutMs: 2 * subject.answerMs }).then(
    (version) => ({ version, why: undefined }),
    (error: unknown) => ({ version: undefined, why: reasonOf(error) }),
  );
  const beside = others.names.length === 0 ? '' : `; ${others.names.join(' and ')} beside it`;
  if (answer.version !== undefined) {
    const findings = [...oldVersion(answer.version), ...others.findings];
    const seen = `containerd ${answer.version} answers at ${socket}${beside}`;
    return { ...result('runtime', seen, findings), version: answer.version, isOther: false };
  }
  const isOther = others.names.length > 0 && answer.why === 'ENOENT';
  if (isOther) {
    const seen = `${others.names.join(' and ')}, and no containerd at ${socket}`;
    return { ...result('runtime', seen, others.findings), version: undefined, isOther };
  }
  const findings = [notAnswering(subject, answer.why ?? ''), ...others.findings];
  return { ...result('runtime', `nothing at ${socket}`, findings), version: undefined, isOther };
}

function notAnswering({ paths, settings }: Subject, why: string): Finding {
  const { preset } = settings.containerd;
  const { socket } = paths;
  const isDenied = why === 'EACCES' || why === 'EPERM';
  const elsewhere = `if it listens elsewhere, set containerd.socket or containerd.preset (it is ${preset})`;
  return {
    code: isDenied ? 'socket-denied' : 'socket-silent',
    severity: 'error',
    what: `containerd does not answer at ${socket} (${why})`,
    mend: isDenied
      ? 'run windlass doctor as root: whoever may ask containerd is as good as root'
      : `start containerd (journalctl -u containerd says why it does not run; of K3s and RKE2, their own unit); ${elsewhere}`,
    docs: DOCUMENTS.containerdStart,
  };
}

function oldVersion(version: string): Finding[] {
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(version) ?? [];
  if (major !== '1' || Number(minor) >= OLDEST_MINOR) return [];
  return [
    {
      code: 'containerd-too-old',
      severity: 'warning',
      what: `containerd ${version} is older than 1.${OLDEST_MINOR}, with which windlass is tried`,
      mend: 'upgrade containerd',
      docs: 'https://containerd.io/releases/',
    },
  ];
}

/** The system's own word where there is one: grpc-js has it in the middle of a sentence. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return /\b(ENOENT|ENOTDIR|EACCES|EPERM|ECONNREFUSED)\b/.exec(text)?.[1] ?? text;
}
