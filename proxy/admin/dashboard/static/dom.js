// Elements made of values, and a page that changes into them. Texts are set as text: there is no way to pass markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `attributes` with the value false, null or undefined are left out; children are nodes, texts, lists. */
export function h(tag, attributes = {}, ...children) {
  return made(document.createElement(tag), attributes, children);
}

/** An element of a picture. */
export function svg(tag, attributes = {}, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Make the children of `parent` those of `wanted`, by changing what differs: focus, selection, scrolling and what is
 * open stay. Children with a `data-key` are the same where their key is; what has `data-own` belongs to somebody else.
 */
export function morph(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = parent.firstChild;
  for (const next of [...wanted.flat(Infinity)].filter(
    (node) => node !== null && node !== undefined && node !== false,
  )) {
    const node = next instanceof Node ? next : document.createTextNode(String(next));
    const key = node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined;
    let same = key ? keyed.get(key) : place;
    if (!key && same && same.dataset?.key) same = null;
    if (same && isAlike(same, node)) {
      if (same !== place) parent.insertBefore(same, place);
      else place = place.nextSibling;
      become(same, node);
    } else {
      parent.insertBefore(node, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isAlike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;
}

function become(element, wanted) {
  if (element.nodeType === Node.TEXT_NODE) {
    if (element.data !== wanted.data) element.data = wanted.data;
    return;
  }
  if (element.isEqualNode(wanted)) return;
  for (const { name } of [...element.attributes]) {
    if (!wanted.hasAttribute(name) && name !== "open") element.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  if (!element.hasAttribute("data-own")) morph(element, [...wanted.childNodes]);
}
