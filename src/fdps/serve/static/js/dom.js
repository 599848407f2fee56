// @ts-check
/** Elements without HTML strings: a text can never become markup. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. `onclick` and the like are listeners, `vars` are custom properties of CSS,
 * `true` is an attribute without value; `false`, `null` and `undefined` leave one out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * Make an SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * A drawing of `icons.svg`; it says nothing to screen readers.
 * @param {string} name
 */
export function icon(name) {
  return s(
    "svg",
    { class: "icon", "aria-hidden": "true" },
    s("use", { href: `/static/icons.svg#${name}` }),
  );
}

/**
 * A button with a drawing and, unless `title` is given alone, words.
 * @param {{icon?: string, text?: string, title?: string, class?: string} & Record<string, any>} options
 */
export function button({ icon: drawing, text, title, class: classes = "", ...attributes }) {
  const round = text ? "" : "round";
  const named = title ? { title, "aria-label": text ? null : title } : {};
  return h(
    "button",
    { type: "button", class: `button ${round} ${classes}`, ...named, ...attributes },
    drawing && icon(drawing),
    text,
  );
}

/**
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * Show other children in an element.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function show(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/**
 * A field with its label.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(label, input, hint = "") {
  input.id ||= `field-${++fields}`;
  if (hint) input.setAttribute("aria-describedby", `${input.id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, label),
    input,
    hint && h("p", { class: "hint", id: `${input.id}-hint` }, hint),
  );
}
let fields = 0;

/** @param {any} element @param {Record<string, any>} attributes @param {any[]} children */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars")
      for (const [key, one] of Object.entries(value)) element.style.setProperty(key, String(one));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** @param {any[]} children */
function nodes(children) {
  return children
    .flat(2)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}
