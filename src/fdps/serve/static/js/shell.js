// @ts-check
/** What every page has: archive, theme, help. */
import { archive, archives } from "./archive.js";
import { dialog } from "./dialogs.js";
import { byId, h, show } from "./dom.js";
import { keyList, listen } from "./keys.js";
import { t } from "./messages.js";
import { complain } from "./notes.js";

const YEAR_S = 31_536_000;

/** Name the archive of the page. @param {{anew?: boolean}} [options] */
export async function showArchive(options) {
  const [all, now] = await Promise.all([archives(options), archive()]);
  if (!now) return show(byId("archive"), h("p", { class: "small soft" }, t("shell.no_archive")));
  const people = h("p", { class: "small soft number" }, t("shell.people", { n: now.n_people }));
  if (all.length === 1)
    return show(byId("archive"), h("p", { class: "archive-name" }, now.name), people);
  const choice = h(
    "select",
    { class: "input", "aria-label": t("shell.archive"), onchange: () => go(choice.value) },
    all.map((one) => h("option", { value: one.id, selected: one.id === now.id }, one.name)),
  );
  show(byId("archive"), choice, people);
  keepArchive(now.id);
}

/** Open this page for another archive; what was asked belongs to the old one. @param {string} id */
function go(id) {
  location.search = new URLSearchParams({ archive: id }).toString();
}

/** Let the navigation stay with the archive. @param {string} id */
function keepArchive(id) {
  for (const link of document.querySelectorAll(".nav a, .brand")) {
    const address = new URL(/** @type {HTMLAnchorElement} */ (link).href);
    address.searchParams.set("archive", id);
    /** @type {HTMLAnchorElement} */ (link).href = address.pathname + address.search;
  }
}

function nextTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  document.cookie = `fdps_theme=${root.dataset.theme}; path=/; max-age=${YEAR_S}; samesite=strict`;
}

function help() {
  dialog(t("help.title"), () => [keyList(), h("p", { class: "hint-box" }, t("help.words"))]);
}

byId("theme").addEventListener("click", nextTheme);
byId("help-button").addEventListener("click", help);
listen({ key: "?", text: "help.key", run: help });
showArchive().catch(complain);
