import { glob } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import type { ContainerdConfig } from './config-path.ts';
import { textOf } from './if-there.ts';
import { pathBelow } from './root-path.ts';

/**
 * containerd's configuration with what it imports, in the order in which it counts; nothing where there is none.
 * @param root where `/` of the node is; paths are given, and come back, as they are there
 */
export async function readContainerdConfig(path: string, root = '/'): Promise<ContainerdConfig[]> {
  const files: ContainerdConfig[] = [];
  const pending = [path];
  const seen = new Set<string>();
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const text = await textOf(await pathBelow(root, next));
    if (text === undefined) continue;
    files.push({ path: next, text });
    for (const pattern of importsOf(text)) pending.push(...(await matching(resolve(dirname(next), pattern), root)));
  }
  return files;
}

async function matching(pattern: string, root: string): Promise<string[]> {
  if (!pattern.includes('*')) return [pattern];
  const folder = dirname(pattern.slice(0, pattern.indexOf('*') + 1));
  const here = await pathBelow(root, folder);
  const paths: string[] = [];
  for await (const match of glob(relative(folder, pattern), { cwd: here })) paths.push(join(folder, match));
  return paths.sort();
}

function importsOf(text: string): string[] {
  try {
    const { imports } = parse(text, { integersAsBigInt: 'asNeeded' });
    return Array.isArray(imports) ? imports.filter((one) => typeof one === 'string') : [];
  } catch (error) {
    // Said where the file itself is looked at.
    if (error instanceof TomlError) return [];
    throw error;
  }
}
