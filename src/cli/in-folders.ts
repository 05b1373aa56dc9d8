import { realFolder } from '../containerd/certs-dir.ts';
import { withFolderLock } from '../containerd/folder-lock.ts';
import type { Outcome } from '../containerd/outcome.ts';
import { messageOf } from './message-of.ts';
import { reportOutcomes } from './report-outcomes.ts';

const LOCK_MS = 30_000;

/** What is to be done in one of a runtime's folders. */
export interface FolderTask {
  readonly folder: string;
  /** With nobody else at work there. @param root the folder, by `realFolder` */
  readonly work: (root: string) => Promise<readonly Outcome[]>;
}

/**
 * Does all of it, whatever fails: one folder's failure must hide nothing of what was done in another.
 * @throws the last failure, once all is said
 */
export async function inFolders(tasks: readonly FolderTask[]): Promise<void> {
  const outcomes: Outcome[] = [];
  const failures: { readonly error: unknown }[] = [];
  for (const { folder, work } of tasks) {
    try {
      const root = await realFolder(folder);
      outcomes.push(...(await withFolderLock(root, LOCK_MS, () => work(root))));
    } catch (error) {
      failures.push({ error });
    }
  }
  reportOutcomes(outcomes);
  const last = failures.pop();
  for (const { error } of failures) process.stderr.write(`windlass: ${messageOf(error)}\n`);
  if (last !== undefined) throw last.error;
}
