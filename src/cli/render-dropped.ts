import type { Dropped, DroppedItem } from '../status/dropped.ts';
import { showSize } from './quantities.ts';

/** What was removed where, a line a node; nodes that never held it are one line together. */
export function renderDropped(target: string, dropped: readonly Dropped[]): string {
  const failed = dropped.filter(({ error }) => error !== undefined);
  const removed = dropped.filter((entry) => entry.error === undefined && entry.removed.length > 0);
  const others = dropped.length - failed.length - removed.length;
  const told = [...removed, ...failed];
  const names = Math.min(40, Math.max(0, ...told.map((entry) => nameOf(entry).length)));
  return [
    printable(target),
    ...removed.map((entry) => `  ${nameOf(entry).padEnd(names)}  removed: ${entry.removed.map(showItem).join(', ')}`),
    ...failed.map((entry) => `  ${nameOf(entry).padEnd(names)}  not removed: ${printable(entry.error ?? '')}`),
    ...(others === 0 ? [] : [`  ${others === dropped.length ? '' : 'elsewhere '}not held (${nodes(others)} asked)`]),
  ].join('\n');
}

function nameOf({ node, self }: Dropped): string {
  return printable(self ? `${node} (this node)` : node);
}

function showItem({ what, sizeBytes }: DroppedItem): string {
  const noun = what === 'partial' ? 'an unfinished file' : what;
  return sizeBytes === undefined ? noun : `${noun}, ${showSize(sizeBytes)}`;
}

function nodes(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`;
}

/** Names and messages come from other machines: none may move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
