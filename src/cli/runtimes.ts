import { InvalidArgumentError } from 'commander';

/** Whose configuration is written. CRI-O and podman read the same. */
export type Runtime = 'containerd' | 'cri-o';

/** Where CRI-O and podman look for what is to be added to their registries.conf. */
export const REGISTRIES_CONF_DIR = '/etc/containers/registries.conf.d';

const NAMES: ReadonlyMap<string, Runtime> = new Map([
  ['containerd', 'containerd'],
  ['cri-o', 'cri-o'],
  ['podman', 'cri-o'],
]);

/** `containerd,podman` */
export function parseRuntimes(text: string): ReadonlySet<Runtime> {
  const runtimes = text.split(',').map((name) => {
    const runtime = NAMES.get(name.trim());
    if (runtime === undefined)
      throw new InvalidArgumentError(`write ${[...NAMES.keys()].join(', ')}, or several of them`);
    return runtime;
  });
  return new Set(runtimes);
}
