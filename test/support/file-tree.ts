import { chmod, chown, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** What stands somewhere in a folder, by its path in it. */
export type FileTree = Readonly<Record<string, TreeEntry>>;

export type TreeEntry =
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'file'; readonly mode: number; readonly owner?: number; readonly content: string }
  | { readonly kind: 'link'; readonly target: string };

/** Makes all of it; the folders in which things are, too. */
export async function makeTree(root: string, tree: FileTree): Promise<void> {
  const entries = Object.entries(tree).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [path, entry] of entries) {
    const at = join(root, path);
    await mkdir(entry.kind === 'folder' ? at : dirname(at), { recursive: true });
    if (entry.kind === 'file') {
      await writeFile(at, Buffer.from(entry.content, 'latin1'));
      if (entry.owner !== undefined) await chown(at, entry.owner, entry.owner);
      await chmod(at, entry.mode);
    } else if (entry.kind === 'link') await symlink(entry.target, at);
  }
  for (const [path, entry] of entries) if (entry.kind === 'folder') await chmod(join(root, path), entry.mode);
}

/** Bytes as latin1, so that each is one character. */
export async function readTree(root: string, path = ''): Promise<FileTree> {
  let tree: FileTree = {};
  for (const name of await readdir(join(root, path))) {
    const below = path === '' ? name : `${path}/${name}`;
    const at = join(root, below);
    const stats = await lstat(at);
    const mode = stats.mode & 0o7777;
    if (stats.isSymbolicLink()) tree = { ...tree, [below]: { kind: 'link', target: await readlink(at) } };
    else if (stats.isDirectory())
      tree = { ...tree, [below]: { kind: 'folder', mode }, ...(await readTree(root, below)) };
    else tree = { ...tree, [below]: { kind: 'file', mode, owner: stats.uid, content: await readFile(at, 'latin1') } };
  }
  return tree;
}
