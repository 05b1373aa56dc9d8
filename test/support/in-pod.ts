import { fileURLToPath } from 'node:url';
import { type CommandResult, tryCommand } from './commands.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** Only this process sees it; nothing of the machine's own /run is changed. */
const MOUNT = 'mount -t tmpfs tmpfs /run && cp -r "$0/var/run/." /run && exec "$@"';

/**
 * Runs windlass as a Pod's container does: with its service account where all Pods have it, and the variables of this
 * process. Needs root, and `unshare`.
 * @param podRoot as KubeApiserver.writeAccount makes it
 */
export function windlassInPod(podRoot: string, args: readonly string[]): Promise<CommandResult> {
  const command = [process.execPath, MAIN, ...args];
  return tryCommand('unshare', ['--mount', 'sh', '-c', MOUNT, podRoot, ...command]);
}
