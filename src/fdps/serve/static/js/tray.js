// @ts-check
/** The people who are looked for, as small pictures that can be taken out. */
import { button, h, show } from "./dom.js";
import { t } from "./messages.js";
import { cutOut } from "./pictures.js";
import { itemOf, originOf } from "./question.js";

/**
 * A person who is looked for, as a picture.
 * @param {string} id a selection, `item:N`, or `case:CASE:n`
 * @param {string} archive
 * @returns {Element | null}
 */
export function wantedPicture(id, archive) {
  const item = itemOf(id);
  if (item !== null)
    return h("img", {
      class: "cut-out",
      src: cropOf(item, archive),
      alt: t("tray.item", { item: String(item) }),
    });
  const [kind, kept, n] = id.split(":");
  if (kind === "case")
    return h("img", {
      class: "cut-out",
      src: `/api/v1/cases/${kept}/query/${n}/crop`,
      alt: t("tray.chosen"),
    });
  const origin = originOf(id);
  if (!origin)
    return h("span", { class: "cut-out unknown", role: "img", "aria-label": t("tray.unknown") });
  const picture = h("img", { src: origin.picture, alt: "" });
  return cutOut(picture, origin, origin.box, t("tray.chosen"));
}

/** @param {number} item @param {string} archive */
export const cropOf = (item, archive) =>
  `/api/v1/people/${item}/crop?height=256&archive=${encodeURIComponent(archive)}`;

/**
 * @param {HTMLElement} tray
 * @param {import("./question.js").Question} question
 * @param {{archive: string, onadd: () => void, onremove: (id: string) => void}} options
 */
export function showTray(tray, question, { archive, onadd, onremove }) {
  const chosen = question.like.map((id) =>
    h(
      "div",
      { class: "wanted" },
      wantedPicture(id, archive),
      button({ icon: "no", title: t("tray.remove"), class: "tight", onclick: () => onremove(id) }),
    ),
  );
  show(
    tray,
    ...chosen,
    h("button", { type: "button", class: "button wanted-add", onclick: onadd }, t("tray.add")),
  );
}
