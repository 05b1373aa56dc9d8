/** @import { Tree, TreeNode } from './tree.js' */
import { svg } from './dom.js';
import { describeTree } from './tree.js';

const HEIGHT = 30;
const WIDE = 116;
const SMALL = 98;
/** Longer chains are drawn in small nodes. */
const MANY = 4;
const GAP = { across: 28, beside: 10, down: 22 };
/** Of its text, at 12px. */
const LETTER_WIDTH = 7.4;

/**
 * Draws it from left to right, or downwards where the room is narrow.
 * @param {Tree} tree
 * @param {{ readonly narrow: boolean, readonly flowing: boolean }} options
 * @returns {SVGElement}
 */
export function drawTree(tree, { narrow, flowing }) {
  const lanes = tree.nodes.map(({ lane }) => lane);
  const [first, last] = [Math.min(0, ...lanes), Math.max(0, ...lanes)];
  const depth = Math.max(0, ...tree.nodes.map((node) => node.depth));
  const size = narrow || depth >= MANY ? SMALL : WIDE;
  const beside = narrow ? size + GAP.beside : HEIGHT + GAP.beside;
  const onward = narrow ? HEIGHT + GAP.down : size + GAP.across;
  /** @param {TreeNode} node */
  const placeOf = (node) => {
    const [along, across] = [node.depth * onward, (node.lane - first) * beside];
    return narrow ? { x: across, y: along } : { x: along, y: across };
  };
  const [width, height] = narrow
    ? [(last - first) * beside + size, depth * onward + HEIGHT]
    : [depth * onward + size, (last - first) * beside + HEIGHT];
  const places = new Map(tree.nodes.map((node) => [node.id, placeOf(node)]));
  const edges = tree.edges.map(({ from, to, sure }) => {
    const path = curve(places.get(from), places.get(to), size, narrow);
    const className = `tree-edge${sure ? '' : ' unsure'}${flowing ? ' flowing' : ''}`;
    return svg('path', { d: path, class: className });
  });
  const boxes = tree.nodes.map((node) => box(node, placeOf(node), size));
  return svg(
    'svg',
    {
      class: 'tree',
      role: 'img',
      'aria-label': describeTree(tree),
      viewBox: `-2 -2 ${width + 4} ${height + 4}`,
      width: width + 4,
      height: height + 4,
    },
    ...edges,
    ...boxes,
  );
}

/** @typedef {{ readonly x: number, readonly y: number }} Place */

/**
 * @param {TreeNode} node
 * @param {Place} place
 * @param {number} size
 */
function box({ kind, label, note }, { x, y }, size) {
  return svg(
    'g',
    { class: `tree-${kind}`, transform: `translate(${x} ${y})` },
    svg('title', {}, `${label}: ${note}`),
    svg('rect', { width: size, height: HEIGHT, rx: kind === 'registry' || kind === 'clients' ? HEIGHT / 2 : 7 }),
    svg(
      'text',
      { x: size / 2, y: HEIGHT / 2, dy: '0.35em' },
      shorten(label, kind, Math.floor((size - 10) / LETTER_WIDTH)),
    ),
  );
}

/**
 * A host begins with what tells it from its neighbours; a registry ends with it.
 * @param {string} label
 * @param {TreeNode['kind']} kind
 * @param {number} most
 */
export function shorten(label, kind, most) {
  if (label.length <= most) return label;
  if (kind === 'registry') return `…${label.slice(1 - most)}`;
  const [host = ''] = label.split('.');
  return host !== '' && host.length <= most ? host : `${label.slice(0, most - 1)}…`;
}

/**
 * @param {Place | undefined} from
 * @param {Place | undefined} to
 * @param {number} size
 * @param {boolean} narrow
 */
function curve(from = { x: 0, y: 0 }, to = { x: 0, y: 0 }, size = WIDE, narrow = false) {
  if (narrow) {
    const [x1, y1, x2, y2] = [from.x + size / 2, from.y + HEIGHT, to.x + size / 2, to.y];
    const middle = (y1 + y2) / 2;
    return `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [from.x + size, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}
