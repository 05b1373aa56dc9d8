import { expect, test } from 'vitest';
import { renderDropped } from '../../../src/cli/render-dropped.ts';

const removed = [{ what: 'blob', sizeBytes: 2048 }] as const;

test('what was removed, what failed, and how many never held it', () => {
  expect(
    renderDropped('sha256:0', [
      { node: 'n1', self: true, removed },
      { node: 'node-2', self: false, removed: [{ what: 'partial' }, { what: 'tag' }] },
      { node: 'n3', self: false, removed: [] },
      { node: 'n4', self: false, removed: [], error: 'it is\nsilent' },
      { node: 'n5', self: false, removed: [] },
    ]).split('\n'),
  ).toEqual([
    'sha256:0',
    '  n1 (this node)  removed: blob, 2.0 KiB',
    '  node-2          removed: an unfinished file, tag',
    '  n4              not removed: it is silent',
    '  elsewhere not held (2 nodes asked)',
  ]);
});

test('nobody held it', () => {
  expect(renderDropped('a.b/c:1', [{ node: 'n1', self: true, removed: [] }])).toBe(
    'a.b/c:1\n  not held (1 node asked)',
  );
});
