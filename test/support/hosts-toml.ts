import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface HostsToml {
  /** The registry that images name: `docker.io`. */
  readonly registry: string;
  /** Asked first, in this order. */
  readonly mirrors: readonly string[];
  /** The registry itself, the last host. */
  readonly server: string;
}

/** Writes `<root>/<registry>/hosts.toml`, as a node's certs.d has it. @returns the root */
export async function writeHostsToml(root: string, { registry, mirrors, server }: HostsToml): Promise<string> {
  const folder = join(root, registry);
  await mkdir(folder, { recursive: true });
  const hosts = mirrors.map((url) => `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`);
  await writeFile(join(folder, 'hosts.toml'), [`server = "${server}"\n`, ...hosts].join('\n'));
  return root;
}
