import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { folderNames } from './host-folders.ts';
import { textOf, unless } from './if-there.ts';
import { pathBelow } from './root-path.ts';

/** What containerd reads for a registry. */
export interface HostsInEffect {
  /** In certs.d, the first that is there of `host_port_`, `host:port` and `_default`; undefined: there is none. */
  readonly folder: string | undefined;
  /** Of its hosts.toml; undefined where that is missing or empty, which is the same. */
  readonly text: string | undefined;
  /** It is no folder: pulls from the registry fail. */
  readonly isBroken: boolean;
}

/**
 * As containerd looks it up at each pull.
 * @param root where `/` of the node is
 * @throws what the system says where it cannot be read
 */
export async function hostsInEffect(certsDir: string, host: string, root = '/'): Promise<HostsInEffect> {
  for (const folder of [...folderNames(host), '_default']) {
    const path = join(certsDir, folder);
    const stats = await statOf(await pathBelow(root, path));
    if (stats === undefined) continue;
    if (stats === 'loop' || !stats.isDirectory()) return { folder, text: undefined, isBroken: true };
    const text = await textOf(await pathBelow(root, join(path, 'hosts.toml')));
    return { folder, text: text === '' ? undefined : text, isBroken: false };
  }
  return { folder: undefined, text: undefined, isBroken: false };
}

/** `loop`: links that lead to each other. For containerd that is not the same as missing: the pull fails. */
async function statOf(path: string): Promise<Stats | 'loop' | undefined> {
  try {
    return await unless(stat(path), 'ENOENT', 'ENOTDIR');
  } catch (error) {
    if (systemCode(error) === 'ELOOP') return 'loop';
    throw error;
  }
}
