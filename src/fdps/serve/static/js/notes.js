// @ts-check
/** Short messages at the edge of the page, read out by screen readers. */
import { button, byId, h, icon } from "./dom.js";
import { Problem } from "./api.js";
import { t } from "./messages.js";

const STAYS_MS = 6000;

/**
 * @param {string} text
 * @param {{more?: string, bad?: boolean}} [options]
 */
export function note(text, { more = "", bad = false } = {}) {
  const shown = h(
    "div",
    { class: `note ${bad ? "bad" : ""}` },
    bad && icon("warning"),
    h("div", {}, h("p", {}, text), more && h("p", {}, more)),
  );
  const close = () => {
    shown.classList.add("gone");
    tidy();
  };
  shown.append(button({ icon: "no", title: t("close"), class: "bare tight", onclick: close }));
  tidy();
  byId("notes").prepend(shown);
  if (!bad) setTimeout(close, STAYS_MS);
}

/** Take out notes that are gone, as far as that moves none that is still read. */
function tidy() {
  const notes = byId("notes");
  while (notes.firstElementChild?.classList.contains("gone")) notes.firstElementChild.remove();
}

/** Say that something failed. @param {unknown} error */
export function complain(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof Problem) note(error.message, { more: error.hint, bad: true });
  else {
    note(t("problem.page"), { more: String(error), bad: true });
    throw error;
  }
}

/**
 * What stands where content could not be loaded.
 * @param {unknown} error
 * @param {() => void} [again]
 */
export function failed(error, again) {
  const said = error instanceof Problem ? error : new Problem({ status: 0, detail: String(error) });
  return h(
    "div",
    { class: "empty", role: "alert" },
    icon("warning"),
    h("h3", {}, said.title || t("problem.title")),
    h("p", {}, said.message),
    said.hint && h("p", { class: "small" }, said.hint),
    again && button({ icon: "retry", text: t("retry"), onclick: again }),
  );
}

/**
 * What stands where there is nothing yet.
 * @param {string} sign
 * @param {string} key a text with `.title` and `.text`
 * @param {...any} children
 */
export function nothing(sign, key, ...children) {
  return h(
    "div",
    { class: "empty" },
    icon(sign),
    h("h3", {}, t(`${key}.title`)),
    h("p", {}, t(`${key}.text`)),
    ...children,
  );
}
