import { readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { unless } from './if-there.ts';

/** As many as the kernel follows. */
const MAX_HOPS = 40;

/** Does a link at `path` to `target` lead to or through one of these? Not if it leads to itself before. */
export async function leadsThrough(path: string, target: string, paths: ReadonlySet<string>): Promise<boolean> {
  let next = await placeOf(path, target);
  for (let hops = 0; hops < MAX_HOPS && next !== undefined && next !== path; hops++) {
    if (paths.has(next)) return true;
    const further = await orUndefined(readlink(next));
    if (further === undefined) return false;
    next = await placeOf(next, further);
  }
  return false;
}

/** The file at the end of a link at `path` to `target`, whatever is at `path` now; undefined for none, or for itself. */
export async function endOfLink(path: string, target: string): Promise<string | undefined> {
  const place = await placeOf(path, target);
  const end = place === undefined ? undefined : await orUndefined(realpath(place));
  return end === path ? undefined : end;
}

async function placeOf(path: string, target: string): Promise<string | undefined> {
  const place = resolve(dirname(path), target);
  const folder = await orUndefined(realpath(dirname(place)));
  return folder === undefined ? undefined : join(folder, basename(place));
}

/** EINVAL: it is no link. */
function orUndefined(result: Promise<string>): Promise<string | undefined> {
  return unless(result, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL');
}
