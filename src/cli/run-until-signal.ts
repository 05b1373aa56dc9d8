import type { Logger } from 'pino';
import { systemCode, WindlassError } from '../errors.ts';
import { type SignalSource, StopSignals } from './stop-signals.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
type SignalName = (typeof SIGNALS)[number];

interface Startable {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface RunOptions {
  readonly signals: SignalSource<SignalName>;
  readonly stopTimeoutMs: number;
  readonly logger: Logger;
}

/**
 * Runs a service until the first SIGTERM or SIGINT, stops it, and resolves with the exit code.
 *
 * ```
 *  starting ───────▶ running ──signal──▶ stopping ──▶ 0
 *   │    └──signal: stops once started ─────▲ │ └─ second signal, or stopTimeoutMs over ──▶ 1, with no more waiting
 *   └─ fails ──▶ 1                            └─ fails ──▶ 1
 * ```
 */
export async function runUntilSignal(service: Startable, options: RunOptions): Promise<number> {
  const { signals, stopTimeoutMs, logger } = options;
  const first = Promise.withResolvers<SignalName>();
  const second = Promise.withResolvers<SignalName>();
  let asked = false;
  using _listening = new StopSignals(signals, SIGNALS, (name) => {
    (asked ? second : first).resolve(name);
    asked = true;
  });

  let timer: NodeJS.Timeout | undefined;
  try {
    const started = service.start();
    // A start that fails ends this at once; one that hangs can still be stopped.
    await Promise.race([started, first.promise]);
    const signal = await first.promise;
    logger.info({ signal }, 'stopping');

    const gaveUp = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve('it took too long to stop'), stopTimeoutMs);
    });
    const reason = await Promise.race([
      started.then(() => service.stop()),
      second.promise.then((name) => `a second signal, ${name}`),
      gaveUp,
    ]);
    if (reason === undefined) return 0;
    logger.error({ reason }, 'ended without waiting for what was running');
    return 1;
  } catch (error) {
    report(error, asked ? 'the agent failed to stop' : 'the agent cannot start', logger);
    return 1;
  } finally {
    clearTimeout(timer);
  }
}

/** What somebody can mend is one line; a fault of our own has its stack in the log. */
function report(error: unknown, what: string, logger: Logger): void {
  const code = error instanceof WindlassError ? error.code : systemCode(error);
  if (code === undefined) logger.fatal({ err: error }, what);
  else logger.fatal({ code }, `${what}: ${error instanceof Error ? error.message : String(error)}${hint(code)}`);
}

function hint(code: string): string {
  if (code === 'EADDRINUSE') return ' (is another agent running? choose other addresses: mirror.listen, status.listen)';
  if (code === 'EADDRNOTAVAIL') return ' (this machine has no such address)';
  return '';
}
