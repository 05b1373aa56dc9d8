import { builtContainerd, type ContainerdBinaries, debianContainerd } from '../../support/containerd-binaries.ts';
import { RealRegistry } from '../../support/real-registry.ts';
import { commandsMissing, type Missing, rootMissing } from '../../support/requires.ts';
import { STRICT } from './size.ts';

/** Why there can be no lab here; nothing: there can. For `describeWith`. */
export const labMissing: readonly Missing[] = [
  rootMissing(),
  commandsMissing('ip', 'bridge', 'tc', 'ebtables', 'unshare'),
  RealRegistry.missing,
  usable(builtContainerd()) === undefined && usable(debianContainerd()) === undefined ? 'no containerd' : undefined,
];

/** So many containerds: of 2.3 where it is built, else Debian's (but not where we were told the lab's size). */
export function containerds(count: number): ContainerdBinaries[] {
  const built = builtContainerd();
  const binaries = usable(built) ?? usable(debianContainerd());
  if (binaries === undefined) throw new Error('no containerd');
  if (STRICT && binaries !== built) throw new Error(`the whole lab is of containerd 2.3: ${built}`);
  return Array.from({ length: count }, () => binaries);
}

export function usable(binaries: ContainerdBinaries | string): ContainerdBinaries | undefined {
  return typeof binaries === 'string' ? undefined : binaries;
}
