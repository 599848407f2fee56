// @ts-check
/** The page of a case: what was confirmed and rejected, notes, export. */
import { get, patch, remove } from "./api.js";
import { sized } from "./cards.js";
import { exportCase, writeVerdict } from "./casework.js";
import { formDialog } from "./dialogs.js";
import { button, byId, field, h, icon, show } from "./dom.js";
import { time, when } from "./format.js";
import { listen } from "./keys.js";
import { t } from "./messages.js";
import { complain, failed, note, nothing } from "./notes.js";
import { shot } from "./pictures.js";
import { may } from "./role.js";
import { forgetPage, scenePage } from "./scenes.js";

const SCENE_PX = 480;
const MANY = 60; // cards that are worth leaving out while they are not in sight

/** @type {any} */
let now = null;
const id = byId("case").dataset.id;

function draw() {
  document.title = `${now.name} · fdps`;
  const tools = h(
    "div",
    { class: "row" },
    h(
      "a",
      { class: "button", href: `/?${new URLSearchParams({ archive: now.archive, case: id })}` },
      icon("search"),
      t("case.search"),
    ),
    may("editor") &&
      button({
        icon: "download",
        text: t("export.button"),
        class: "main",
        onclick: () => exportCase(id),
      }),
  );
  const names = h(
    "div",
    { class: "stack-tight" },
    h("p", { class: "small" }, h("a", { href: "/cases" }, t("nav.cases"))),
    h("h1", {}, now.name),
    h(
      "p",
      { class: "soft" },
      t("case.facts", { by: now.by, created: time(now.created), archive: now.archive }),
    ),
  );
  show(
    byId("case"),
    h("header", { class: "page-head" }, names, tools),
    h("div", { class: "panels case-panels" }, may("editor") ? [aims(), notes()] : read()),
    wanted(),
    people("confirmed"),
    people("rejected"),
    now.missing?.length > 0 &&
      h("p", { class: "hint-box" }, icon("info"), t("case.gone", { n: now.missing.length })),
    may("editor") &&
      h(
        "div",
        { class: "row" },
        button({ icon: "trash", text: t("case.delete"), class: "danger", onclick: erase }),
        may("admin") &&
          now.confirmed.length > 0 &&
          h(
            "a",
            {
              class: "button",
              href: forgetPage(
                now.archive,
                now.confirmed.map((/** @type {any} */ one) => one.item),
              ),
            },
            t("case.forget"),
          ),
      ),
  );
}

/** Purpose and notes for those who may read them only. */
function read() {
  return h(
    "section",
    { class: "panel" },
    h(
      "dl",
      { class: "facts" },
      ["purpose", "notes"].map((name) => [
        h("dt", {}, t(`case.${name}`)),
        h("dd", { class: "lines" }, now[name] || t("case.nothing")),
      ]),
    ),
  );
}

function aims() {
  const name = h("input", { class: "input", value: now.name, maxlength: 200, required: true });
  const why = h("textarea", { class: "input", maxlength: 500 }, now.purpose);
  return h(
    "section",
    { class: "panel stack" },
    field(t("case.name"), name),
    field(t("case.purpose"), why),
    h(
      "div",
      { class: "row" },
      button({ text: t("save"), onclick: () => save({ name: name.value, purpose: why.value }) }),
    ),
  );
}

function wanted() {
  if (!now.query.length) return null;
  const pictures = now.query.map(
    (/** @type {any} */ one) =>
      one.crop &&
      h("img", { class: "cut-out", src: one.crop, alt: t("case.wanted_alt", { n: one.n }) }),
  );
  return h(
    "section",
    { class: "stack" },
    h("h2", {}, t("search.looking_for")),
    h("div", { class: "row" }, pictures),
  );
}

function notes() {
  const text = h("textarea", { class: "input tall" }, now.notes);
  return h(
    "section",
    { class: "panel stack" },
    field(t("case.notes"), text, t("case.notes_hint")),
    h(
      "div",
      { class: "row" },
      button({ text: t("save"), onclick: () => save({ notes: text.value }) }),
    ),
  );
}

/** @param {Record<string, string>} changes */
async function save(changes) {
  try {
    now = await patch(`/cases/${id}`, changes, { headers: { "If-Match": String(now.version) } });
    draw();
    note(t("saved"));
  } catch (error) {
    complain(error);
  }
}

/** @param {"confirmed" | "rejected"} verdict */
function people(verdict) {
  const all = now[verdict];
  return h(
    "section",
    { class: "stack" },
    h("h2", {}, t(`verdict.${verdict}`, { n: all.length })),
    all.length
      ? h(
          "ol",
          { class: all.length > MANY ? "cards" : "cards few" },
          all.map((/** @type {any} */ one) => entry(one)),
        )
      : nothing("people", `case.none_${verdict}`),
  );
}

/** @param {any} one */
function entry(one) {
  const where = [one.scene.camera, one.scene.path_name].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: "card" },
    h(
      "a",
      {
        class: "look",
        href: scenePage(one.scene.name, now.archive, one.item),
        "aria-label": t("scene.open", { scene: where }),
      },
      shot({ src: sized(one.picture, SCENE_PX), size: one.scene, box: one.box, alt: "" }),
    ),
    h(
      "div",
      { class: "card-words" },
      h("p", { class: "small" }, when(one.scene)),
      h("p", { class: "small soft card-where" }, where),
      one.note && h("p", { class: "small" }, one.note),
    ),
    may("editor") &&
      h(
        "div",
        { class: "card-tools" },
        button({
          icon: "no",
          text: t("case.take_out"),
          class: "tight bare",
          onclick: () => takeOut(one.item),
        }),
      ),
  );
}

/** @param {number} item */
async function takeOut(item) {
  try {
    now = await writeVerdict(id, item, null, now.version);
    draw();
  } catch (error) {
    complain(error);
  }
}

function erase() {
  formDialog(t("case.delete"), [h("p", {}, t("case.delete_sure", { name: now.name }))], {
    go: t("case.delete"),
    danger: true,
    submit: async () => {
      await remove(`/cases/${id}`);
      location.assign("/cases");
    },
  });
}

if (may("editor")) listen({ key: "e", text: "keys.export", run: () => exportCase(id) });
get(`/cases/${id}`).then(
  (found) => ((now = found), draw()),
  (error) =>
    show(
      byId("case"),
      failed(error, () => location.reload()),
    ),
);
