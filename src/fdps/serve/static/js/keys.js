// @ts-check
/** Keys that work on a page, in one list, which the help shows. */
import { h } from "./dom.js";
import { t } from "./messages.js";

/** @typedef {{key: string, shown?: string, text: string, run: (event: KeyboardEvent) => void}} Key */

/** @type {Key[]} */
const known = [];

/**
 * Let keys work while nobody types and no dialog is open.
 * @param {...Key} keys `text` is a key of the catalogue
 */
export function listen(...keys) {
  known.push(...keys);
}

/** The list of keys for the help. */
export function keyList() {
  const shown = known.filter(
    (key, at) => known.findIndex((other) => other.text === key.text) === at,
  );
  return h(
    "dl",
    { class: "keys" },
    shown.map((key) => [
      h("dt", {}, ...(key.shown ?? key.key).split(" ").map((one) => h("kbd", {}, one))),
      h("dd", {}, t(key.text)),
    ]),
  );
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open], .menu")) return;
  const at = /** @type {HTMLElement} */ (event.target);
  const types = at.closest(
    "input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select",
  );
  if (
    types ||
    (event.key === " " && at.closest("button, a, input, summary") && !at.closest("[data-space]"))
  )
    return;
  const found = known.find((key) => key.key === event.key);
  if (!found) return;
  event.preventDefault();
  found.run(event);
});
