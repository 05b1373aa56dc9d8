import { expect, test } from 'vitest';
import { describeTree, treeOf } from '../../../../src/status/page/tree.js';
import { shorten } from '../../../../src/status/page/tree-view.js';

type Transfer = Parameters<typeof treeOf>[0];

const transfer = (changes: Partial<Transfer>): Transfer => ({
  source: 'peer',
  registry: 'docker.io',
  path: [],
  from: [],
  parentRole: null,
  to: [],
  children: 0,
  readers: 0,
  ...changes,
});
const drawn = (changes: Partial<Transfer>) => describeTree(treeOf(transfer(changes), 'me'));

test.each<[string, Partial<Transfer>, string]>([
  ['the writer', { source: 'upstream', to: ['b', 'c'], children: 2, readers: 1 }, 'docker.io → me → b, c, 1 client'],
  ['a child of the writer', { path: ['a'], from: ['a'], parentRole: 'writer' }, 'docker.io → a → me'],
  [
    'further down',
    { path: ['a', 'b'], from: ['b'], parentRole: 'relay', readers: 2 },
    'docker.io → a → b → me → 2 clients',
  ],
  ['from who holds it', { path: ['a'], from: ['a'], parentRole: 'holder' }, 'a → me'],
  ['before a path was told', { from: ['a'], parentRole: 'writer' }, 'docker.io → a → me'],
  ['from containerd', { source: 'content' }, 'containerd → me'],
  ['nothing is known yet', { source: 'none' }, 'me'],
])('%s', (_name, changes, text) => expect(drawn(changes)).toBe(text));

test('a long chain, and many children, are counted', () => {
  const path = ['a', 'b', 'c', 'd', 'e', 'f'];
  expect(drawn({ path, from: ['f'], parentRole: 'relay' })).toBe('docker.io → a → +4 more → f → me');
  const to = ['b', 'c', 'd', 'e', 'f', 'g'];
  expect(drawn({ source: 'upstream', to, children: 9 })).toBe('docker.io → me → b, c, d, +6 more');
  expect(drawn({ source: 'upstream', to: to.slice(0, 4), children: 4 })).toBe('docker.io → me → b, c, d, e');
});

test('children lie beside each other, around the middle; each edge joins two that are there', () => {
  const { nodes, edges } = treeOf(transfer({ source: 'upstream', to: ['b', 'c'], children: 2, readers: 1 }), 'me');
  expect(nodes.map(({ depth, lane }) => [depth, lane])).toEqual([
    [0, 0],
    [1, 0],
    [2, -1],
    [2, 0],
    [2, 1],
  ]);
  const ids = nodes.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { from, to } of edges) expect(ids).toEqual(expect.arrayContaining([from, to]));
});

test('that a registry gives it is sure only of the writer', () => {
  const sure = (changes: Partial<Transfer>) => treeOf(transfer(changes), 'me').edges[0]?.sure;
  expect(sure({ source: 'upstream' })).toBe(true);
  expect(sure({ path: ['a'], from: ['a'], parentRole: 'writer' })).toBe(true);
  expect(sure({ path: ['a', 'b'], from: ['b'], parentRole: 'relay' })).toBe(false);
});

test.each([
  ['node-1', 'peer', 'node-1'],
  ['ip-10-0-3-17.eu-west-1.compute.internal', 'peer', 'ip-10-0-3-17'],
  ['a-name-without-any-dot-in-it', 'peer', 'a-name-without…'],
  ['registry.example.com', 'registry', '…ry.example.com'],
  ['.hidden-and-long-enough', 'peer', '.hidden-and-lo…'],
] as const)('%s, of a %s, is drawn as %s', (label, kind, text) => expect(shorten(label, kind, 15)).toBe(text));
