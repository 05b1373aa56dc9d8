import { request } from 'undici';
import { WindlassError } from '../errors.ts';
import type { AgentStatus } from '../status/agent-status.ts';
import { readStatus } from '../status/status-client.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, result } from './finding.ts';
import type { Subject } from './subject.ts';

/** What the agent says of itself. */
export interface AgentAnswer {
  readonly status: AgentStatus;
  /** How many files its process may have open; undefined where it does not say. */
  readonly maxOpenFiles: number | undefined;
}

export interface AgentCheck extends CheckResult {
  readonly answer: AgentAnswer | undefined;
}

/** Is an agent here, and does it serve? */
export async function checkAgent({ statusUrl, answerMs }: Subject): Promise<AgentCheck> {
  let answer: AgentAnswer;
  try {
    const signal = AbortSignal.timeout(answerMs);
    answer = { status: await readStatus(statusUrl, signal), maxOpenFiles: await maxOpenFiles(statusUrl, answerMs) };
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    const finding = {
      code: 'agent-away',
      severity: 'error',
      what: error.message,
      mend: 'start the agent (kubectl get pods shows its Pod on this node, kubectl logs why it does not run); until then pulls go to the registries',
      docs: DOCUMENTS.debugPods,
    } as const;
    return { ...result('agent', `nothing at ${statusUrl}`, [finding]), answer: undefined };
  }
  const { node, version, ready } = answer.status;
  const seen = `windlass ${version} on ${node}, ${ready ? 'ready' : 'not ready'}`;
  if (ready) return { ...result('agent', seen), answer };
  const finding = {
    code: 'agent-not-ready',
    severity: 'error',
    what: 'the agent runs and serves no pulls: it is starting, or going down',
    mend: 'wait; if it stays so, its log says what it waits for',
    docs: DOCUMENTS.debugPods,
  } as const;
  return { ...result('agent', seen, [finding]), answer };
}

/** Only an agent knows its own: it was not started as this command was. */
async function maxOpenFiles(statusUrl: string, answerMs: number): Promise<number | undefined> {
  try {
    const { body } = await request(new URL('/metrics', statusUrl), { signal: AbortSignal.timeout(answerMs) });
    const [, value] = /^process_max_fds (\d+)$/m.exec(await body.text()) ?? [];
    return value === undefined ? undefined : Number(value);
  } catch {
    // It has just answered, and no check needs this one.
    return undefined;
  }
}
