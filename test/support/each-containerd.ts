import { builtContainerd, type ContainerdBinaries, debianContainerd } from './containerd-binaries.ts';
import { RealRegistry } from './real-registry.ts';
import { commandsMissing, describeWith, rootMissing } from './requires.ts';

const MIB = 1024 * 1024;

export interface EachContainerdOptions {
  /** @param containerd as in `containerd 2.3` */
  readonly title?: (containerd: string) => string;
  /** What is needed besides root, a containerd and a registry. */
  readonly commands: readonly string[];
  /** 2.3 once more, with layers fetched in parallel chunks. */
  readonly alsoInChunks?: boolean;
}

export interface ContainerdRelease {
  /** As in the title. */
  readonly name: string;
  readonly binaries: ContainerdBinaries;
  readonly fetchChunkBytes?: number;
}

/** A `describe` for each of the releases that the tests pull with; skipped, and saying why, where it cannot be had. */
export function describeEachContainerd(
  { title = (name) => name, commands, alsoInChunks = false }: EachContainerdOptions,
  body: (release: ContainerdRelease) => void,
): void {
  const inChunks = { containerd: 'containerd 2.3 with parallel layer fetch', found: builtContainerd() };
  for (const { containerd, found, ...settings } of [
    { containerd: 'containerd 1.6', found: debianContainerd() },
    { containerd: 'containerd 2.3', found: builtContainerd() },
    ...(alsoInChunks ? [{ ...inChunks, fetchChunkBytes: MIB }] : []),
  ]) {
    const [binaries, reason] = typeof found === 'string' ? [undefined, found] : [found, undefined];
    const name = title(containerd);
    describeWith(name, [rootMissing(), commandsMissing(...commands), RealRegistry.missing, reason], () => {
      if (binaries !== undefined) body({ name, binaries, ...settings });
    });
  }
}
