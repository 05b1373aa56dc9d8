import { builtContainerd, type ContainerdBinaries, debianContainerd } from '../../support/containerd-binaries.ts';
import { RealRegistry } from '../../support/real-registry.ts';
import { commandsMissing, type Missing, rootMissing } from '../../support/requires.ts';

/** Why there can be no lab here; nothing: there can. For `describeWith`. */
export const labMissing: readonly Missing[] = [
  rootMissing(),
  commandsMissing('ip', 'bridge', 'tc', 'ebtables', 'unshare'),
  RealRegistry.missing,
  usable(builtContainerd()) === undefined && usable(debianContainerd()) === undefined ? 'no containerd' : undefined,
];

/** So many containerds: of 2.3 where it is built, else Debian's. */
export function containerds(count: number): ContainerdBinaries[] {
  const binaries = usable(builtContainerd()) ?? usable(debianContainerd());
  if (binaries === undefined) throw new Error('no containerd');
  return Array.from({ length: count }, () => binaries);
}

export function usable(binaries: ContainerdBinaries | string): ContainerdBinaries | undefined {
  return typeof binaries === 'string' ? undefined : binaries;
}
