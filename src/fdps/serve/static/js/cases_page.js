// @ts-check
/** The list of cases. */
import { get } from "./api.js";
import { newCase } from "./casework.js";
import { button, byId, h, show } from "./dom.js";
import { time } from "./format.js";
import { t } from "./messages.js";
import { complain, failed, nothing } from "./notes.js";
import { may } from "./role.js";

const FACES = 5;

async function load() {
  const cases = await get("/cases");
  if (!cases.length)
    return show(
      byId("case-list"),
      nothing(
        "cases",
        may("editor") ? "cases.empty" : "cases.none",
        may("editor") && button({ icon: "plus", text: t("cases.new"), onclick: begin }),
      ),
    );
  show(byId("case-list"), cases.map(entry));
}

/** @param {any} one */
function entry(one) {
  const crops = Array.from({ length: Math.min(FACES, one.n_query) }, (_, at) =>
    h("img", { src: `/api/v1/cases/${one.id}/query/${at + 1}/crop`, alt: "" }),
  );
  return h(
    "article",
    { class: "panel case-entry" },
    h(
      "div",
      { class: "stack-tight" },
      h("h2", {}, h("a", { href: `/cases/${one.id}` }, one.name)),
      h("p", { class: "soft" }, one.purpose),
      h(
        "p",
        { class: "small soft" },
        t("cases.facts", {
          by: one.by,
          created: time(one.created),
          confirmed: one.n_confirmed,
          rejected: one.n_rejected,
        }),
      ),
    ),
    h("div", { class: "case-crops" }, crops),
  );
}

async function begin() {
  try {
    const made = await newCase();
    location.assign(`/cases/${made.id}`);
  } catch (error) {
    complain(error);
  }
}

byId("new-case")?.addEventListener("click", begin);
load().catch((error) =>
  show(
    byId("case-list"),
    failed(error, () => location.reload()),
  ),
);
