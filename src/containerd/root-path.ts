import { readlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { unless } from './if-there.ts';

/** As many as the kernel follows. */
const MAX_HOPS = 40;

/**
 * Where a path of a node is to be opened when the node's `/` is mounted at `root`: links lead where they do on the node,
 * absolute ones below `root`, and none out of it. What does not exist stays as it is.
 * @param path absolute
 * @throws Error for links without end
 */
export async function pathBelow(root: string, path: string): Promise<string> {
  if (root === '/') return path;
  const left = partsOf(path);
  let real = '/';
  let hops = 0;
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    const next = join(real, part);
    const target = await unless(readlink(join(root, next)), 'ENOENT', 'ENOTDIR', 'EINVAL');
    if (target === undefined) {
      real = next;
      continue;
    }
    hops += 1;
    if (hops > MAX_HOPS) throw new Error(`too many links: ${path}`);
    real = target.startsWith(sep) ? '/' : dirname(next);
    left.unshift(...partsOf(target));
  }
  return join(root, real);
}

/** `..` is one of them, and of `/` it is `/`. */
function partsOf(path: string): string[] {
  return path.split(sep).filter((part) => part !== '' && part !== '.');
}
