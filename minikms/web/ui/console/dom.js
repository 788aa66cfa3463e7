// Elements, made without markup: a string from the service never becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element of HTML. A property `on…` is a listener, any other one an attribute; null, undefined
 * and false omit it. Children are elements, lists of children, and strings.
 */
export function h(name, properties, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** Make an SVG element, in the same way. */
export function s(name, properties, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

/** Show a string that somebody else chose, isolating its writing direction. */
export function foreign(text) {
  return h("bdi", {}, text);
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
