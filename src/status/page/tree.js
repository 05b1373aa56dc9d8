/** @import { TransferStatus } from '../agent-status.ts' */

/**
 * @typedef {object} TreeNode
 * @property {string} id
 * @property {'registry' | 'peer' | 'self' | 'clients' | 'more'} kind
 * @property {string} label
 * @property {string} note what it is, for people
 * @property {number} depth from the source on: 0, 1, …
 * @property {number} lane beside each other: 0 is the middle
 *
 * @typedef {object} TreeEdge
 * @property {string} from
 * @property {string} to
 * @property {boolean} sure false: it may be otherwise
 *
 * @typedef {{ readonly nodes: readonly TreeNode[], readonly edges: readonly TreeEdge[] }} Tree
 */

/** Longer paths, and more children, are counted instead of drawn. */
const MAX_ABOVE = 3;

/**
 * Where one blob's bytes come from, and whom this node gives them to, as far as this node knows:
 *
 *   registry → writer → +2 → parent → this node → children
 *                                              → clients
 *
 * A relay does not know whether the first of its path fetches the blob or held it: that edge is unsure.
 * @param {Pick<TransferStatus, 'source' | 'registry' | 'path' | 'from' | 'parentRole' | 'to' | 'children' | 'readers'>} transfer
 * @param {string} self
 * @param {number} mostBelow so many children are drawn at most
 * @returns {Tree}
 */
export function treeOf(transfer, self, mostBelow = 4) {
  /** @type {TreeNode[]} */
  const nodes = [];
  /** @type {TreeEdge[]} */
  const edges = [];
  const above = aboveOf(transfer);
  for (const node of [...above, { id: 'self', kind: /** @type {const} */ ('self'), label: self, note: 'this node' }]) {
    const last = nodes.at(-1);
    if (last !== undefined)
      edges.push({ from: last.id, to: node.id, sure: last.kind !== 'registry' || isSure(transfer) });
    nodes.push({ ...node, depth: nodes.length, lane: 0 });
  }
  const below = belowOf(transfer, mostBelow);
  for (const [index, node] of below.entries()) {
    edges.push({ from: 'self', to: node.id, sure: true });
    nodes.push({ ...node, depth: above.length + 1, lane: index - (below.length - 1) / 2 });
  }
  return { nodes, edges };
}

/** @param {Pick<TransferStatus, 'source' | 'parentRole' | 'path'>} transfer */
function isSure({ source, parentRole }) {
  return source === 'upstream' || parentRole === 'writer';
}

/** @typedef {Omit<TreeNode, 'depth' | 'lane'>} Placed */

/**
 * @param {Pick<TransferStatus, 'source' | 'registry' | 'path' | 'from' | 'parentRole'>} transfer
 * @returns {readonly Placed[]}
 */
function aboveOf({ source, registry, path, from, parentRole }) {
  const peers = path.length > 0 ? path : from;
  /** @type {Placed} */
  const origin = { id: 'registry', kind: 'registry', label: registry, note: 'the registry' };
  if (peers.length === 0) return source === 'upstream' ? [origin] : source === 'content' ? [held] : [];
  const chain = peers.map((label, index) => peerNode(`above-${index}`, label, noteOf(index, peers.length, parentRole)));
  const [first, parent] = [chain[0], chain.at(-1)];
  const between = chain.length - MAX_ABOVE + 1;
  const shown =
    chain.length <= MAX_ABOVE || first === undefined || parent === undefined
      ? chain
      : [first, moreNode('above-more', between, 'between them'), parent];
  return parentRole === 'holder' ? shown : [origin, ...shown];
}

/** @type {Placed} */
const held = { id: 'content', kind: 'more', label: 'containerd', note: 'its content store' };

/**
 * @param {Pick<TransferStatus, 'to' | 'children' | 'readers'>} transfer
 * @param {number} most
 * @returns {readonly Placed[]}
 */
function belowOf({ to, children, readers }, most) {
  const names = to.slice(0, children > most ? most - 1 : most);
  const below = names.map((label, index) => peerNode(`below-${index}`, label, 'reads it from this node'));
  if (children > names.length) below.push(moreNode('below-more', children - names.length, 'read it from this node'));
  if (readers === 0) return below;
  const label = readers === 1 ? '1 client' : `${readers} clients`;
  return [...below, { id: 'clients', kind: 'clients', label, note: 'container runtimes on this node' }];
}

/**
 * @param {number} index
 * @param {number} length
 * @param {TransferStatus['parentRole']} parentRole
 */
function noteOf(index, length, parentRole) {
  if (index === length - 1 && parentRole === 'holder') return 'holds it';
  if (index === 0 && (parentRole === 'writer' || length > 1)) return 'fetches it for the cluster';
  return 'passes it on';
}

/** @param {string} id @param {string} label @param {string} note @returns {Placed} */
function peerNode(id, label, note) {
  return { id, kind: 'peer', label, note };
}

/** @param {string} id @param {number} number @param {string} note @returns {Placed} */
function moreNode(id, number, note) {
  return { id, kind: 'more', label: `+${number} more`, note: `${number} more nodes ${note}` };
}

/**
 * @param {Tree} tree
 * @returns {string} `docker.io → node-2 → node-1 → node-3, 1 client`
 */
export function describeTree({ nodes }) {
  const self = nodes.findIndex(({ kind }) => kind === 'self');
  const chain = nodes.slice(0, self + 1).map(({ label }) => label);
  const below = nodes.slice(self + 1).map(({ label }) => label);
  return [...chain, ...(below.length === 0 ? [] : [below.join(', ')])].join(' → ');
}
