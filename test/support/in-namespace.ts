/** A command as it is to be run in a network namespace (`ip netns`); undefined: ours. The process is the command's. */
export function inNamespace(
  namespace: string | undefined,
  command: string,
  args: readonly string[],
): [command: string, args: readonly string[]] {
  return namespace === undefined ? [command, args] : ['ip', ['netns', 'exec', namespace, command, ...args]];
}
