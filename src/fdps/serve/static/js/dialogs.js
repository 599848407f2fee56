// @ts-check
/** Dialogs and menus; both give the focus back to where it was. */
import { button, h, icon } from "./dom.js";
import { t } from "./messages.js";

/**
 * Open a dialog; it is gone when it is closed.
 * @param {string} title
 * @param {(close: () => void) => any[]} content
 * @param {{class?: string, onclose?: () => void}} [options]
 * @returns {HTMLDialogElement}
 */
export function dialog(title, content, { class: classes = "", onclose } = {}) {
  const before = document.activeElement;
  const close = () => box.close();
  const head = h(
    "div",
    { class: "dialog-head" },
    h("h2", { id: "dialog-title" }, title),
    button({ icon: "no", title: t("close"), class: "bare tight", onclick: close }),
  );
  const box = h(
    "dialog",
    { class: classes, "aria-labelledby": "dialog-title" },
    h("div", { class: "inside" }, head, ...content(close)),
  );
  box.addEventListener("close", () => {
    box.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    onclose?.();
  });
  box.addEventListener(
    "click",
    (/** @type {MouseEvent} */ event) => event.target === box && close(),
  );
  document.body.append(box);
  box.showModal();
  return box;
}

/**
 * A dialog with a form; it stays open while `submit` fails.
 * @param {string} title
 * @param {any[]} fields
 * @param {{go: string, danger?: boolean, submit: (form: FormData) => Promise<any>, sign?: string}} options
 */
export function formDialog(title, fields, { go, danger = false, submit, sign }) {
  return dialog(title, (close) => {
    const problem = h("p", { class: "hint-box bad", role: "alert", hidden: true });
    const sure = button({
      text: go,
      icon: sign,
      class: danger ? "main danger" : "main",
      type: "submit",
    });
    const form = h(
      "form",
      { class: "stack" },
      ...fields,
      problem,
      h("div", { class: "dialog-foot" }, button({ text: t("cancel"), onclick: close }), sure),
    );
    form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      sure.disabled = true;
      try {
        await submit(new FormData(form));
        close();
      } catch (error) {
        problem.textContent = [error.message, error.hint].filter(Boolean).join(" ");
        problem.hidden = false;
      }
      sure.disabled = false;
    });
    return [form];
  });
}

/**
 * Open a menu at a place of the window.
 * @param {{x: number, y: number}} at
 * @param {{icon: string, text: string, key?: string, run: () => void}[]} entries
 */
export function menu(at, entries) {
  document.querySelector(".menu")?.remove();
  const before = /** @type {HTMLElement} */ (document.activeElement);
  const { signal, abort } = abortable();
  const close = (/** @type {boolean} */ refocus) => {
    abort();
    box.remove();
    if (refocus) before?.focus();
  };
  const items = entries.map((entry) =>
    h(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        onclick: () => (close(true), entry.run()),
      },
      ...iconText(entry),
    ),
  );
  const box = h("div", { class: "menu", role: "menu", "aria-label": t("menu") }, ...items);
  document.body.append(box);
  box.style.setProperty(
    "--x",
    `${Math.max(8, Math.min(at.x, innerWidth - box.offsetWidth - 8))}px`,
  );
  box.style.setProperty(
    "--y",
    `${Math.max(8, Math.min(at.y, innerHeight - box.offsetHeight - 8))}px`,
  );
  items[0].focus();
  box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const now = items.indexOf(document.activeElement);
    if (step) items[(now + step + items.length) % items.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") close(true);
    else return;
    event.preventDefault();
  });
  document.addEventListener(
    "pointerdown",
    (event) => !box.contains(/** @type {Node} */ (event.target)) && close(false),
    { signal },
  );
  addEventListener("scroll", () => close(false), { signal, capture: true });
}

function abortable() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/** @param {{icon: string, text: string, key?: string}} entry */
function iconText(entry) {
  return [icon(entry.icon), h("span", {}, entry.text), entry.key && h("kbd", {}, entry.key)];
}
