import { totalmem } from 'node:os';

/** What this process may have: the least of its cgroups' limits, else all of the machine's. */
export function memoryLimitBytes(constrained = process.constrainedMemory(), machine = totalmem()): number {
  // Without a limit it is 0, or a number larger than any machine has.
  return constrained > 0 && constrained < machine ? constrained : machine;
}
