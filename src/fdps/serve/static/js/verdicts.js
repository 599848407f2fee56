// @ts-check
/** Confirmed and rejected candidates; each can be taken back. */
import { h, icon, show } from "./dom.js";
import { t } from "./messages.js";
import { cropOf } from "./tray.js";

/**
 * @param {HTMLElement} place
 * @param {import("./question.js").Question} question
 * @param {{archive: string, undo: (item: number) => void, tools: any[]}} options
 */
export function showVerdicts(place, question, { archive, undo, tools }) {
  const one = (/** @type {number} */ item, /** @type {"confirmed" | "rejected"} */ verdict) => {
    const said = t(`verdict.undo_${verdict}`, { item: String(item) });
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: `judged ${verdict}`,
          title: said,
          "aria-label": said,
          onclick: () => undo(item),
        },
        h("img", { src: cropOf(item, archive), alt: "" }),
        icon(verdict === "confirmed" ? "yes" : "no"),
      ),
    );
  };
  const group = (/** @type {"confirmed" | "rejected"} */ verdict) => {
    const items = question[verdict];
    return h(
      "div",
      { class: "judged-group" },
      h("h3", { class: "label" }, t(`verdict.${verdict}`, { n: items.length })),
      items.length
        ? h(
            "ul",
            { class: "judged-list" },
            items.map((item) => one(item, verdict)),
          )
        : h("p", { class: "small soft" }, t(`verdict.none_${verdict}`)),
    );
  };
  show(
    place,
    group("confirmed"),
    group("rejected"),
    h("div", { class: "judged-tools row" }, tools),
  );
}
