/** Elements with texts: what comes from images and peers only ever becomes text, never HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Readonly<Record<string, string>>} [attributes]
 * @param {readonly (Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * @param {string} tag
 * @param {Readonly<Record<string, string | number>>} [attributes]
 * @param {readonly (Node | string)[]} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no ${id}`);
  return element;
}

/**
 * Touches the document only where it would change: a screen reader is not told again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * @param {HTMLElement} element
 * @param {boolean} shown
 */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * One child for each item, kept as long as its key is there: what has not changed stays, with its animation and focus.
 * @template T, V
 */
export class KeyedList {
  /** @type {Map<string, { readonly element: Element, readonly view: V }>} */
  #shown = new Map();
  #parent;
  #options;

  /**
   * @param {Element} parent
   * @param {{
   *   readonly keyOf: (item: T) => string,
   *   readonly make: (item: T) => { readonly element: Element, readonly view: V },
   *   readonly update: (view: V, item: T, element: Element) => void,
   * }} options
   */
  constructor(parent, options) {
    this.#parent = parent;
    this.#options = options;
  }

  /** @param {readonly T[]} items */
  render(items) {
    const { keyOf, make, update } = this.#options;
    const before = this.#shown;
    this.#shown = new Map();
    let next = this.#parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = before.get(key) ?? make(item);
      before.delete(key);
      this.#shown.set(key, row);
      update(row.view, item, row.element);
      if (row.element === next) next = next.nextElementSibling;
      else this.#parent.insertBefore(row.element, next);
    }
    for (const { element } of before.values()) element.remove();
  }
}
