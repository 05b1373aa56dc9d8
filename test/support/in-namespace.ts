/**
 * A command as it is to be run in a network namespace (`ip netns`); undefined: ours. The process is the command's.
 *
 * @param resolvConf a file that it, and nobody else, sees as /etc/resolv.conf
 */
export function inNamespace(
  namespace: string | undefined,
  command: string,
  args: readonly string[],
  resolvConf?: string,
): [command: string, args: readonly string[]] {
  if (namespace === undefined) return [command, args];
  // `ip netns exec` gives it a mount namespace too.
  const mounted =
    resolvConf === undefined ? [] : ['sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolvConf];
  return ['ip', ['netns', 'exec', namespace, ...mounted, command, ...args]];
}
