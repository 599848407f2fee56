// @ts-check
/** Parts of a page that are filled first and shown together, so that none pushes another away. */
import { h, show } from "./dom.js";
import { failed } from "./notes.js";

/** @typedef {{panel: any, body: any, tools: any}} Panel */

/**
 * A part of a page with a heading.
 * @param {string} name its id
 * @param {string} title
 * @returns {Panel}
 */
export function panelOf(name, title) {
  const body = h("div", { class: "stack", id: name });
  const tools = h("div", { class: "row" });
  return {
    panel: h(
      "section",
      { class: "panel", id: `${name}-panel`, "aria-labelledby": `${name}-title` },
      h("header", {}, h("h2", { id: `${name}-title` }, title), tools),
      body,
    ),
    body,
    tools,
  };
}

/**
 * Wait until a part is filled; what went wrong is told in its place.
 * @param {Panel} panel
 * @param {() => any} load
 */
export async function filled({ body }, load) {
  try {
    await load();
  } catch (error) {
    show(
      body,
      failed(error, () => location.reload()),
    );
  }
}
