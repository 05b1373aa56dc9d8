import { readFileSync } from 'node:fs';

const RUN_ID = /^wl-(\d+)-(\d+)$/;

/** Names everything that a process of ours makes outside of itself: its pid and when it was started, in clock ticks. */
export function ownRunId(): string {
  return `wl-${process.pid}-${startedAt(process.pid) ?? 0}`;
}

/** Does the process that made something of that name still run? Pids are used again, start times are not. */
export function isLive(runId: string): boolean {
  const [, pid, started] = RUN_ID.exec(runId) ?? [];
  return pid !== undefined && startedAt(Number(pid)) === Number(started);
}

function startedAt(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return undefined; // it has ended
  }
}
