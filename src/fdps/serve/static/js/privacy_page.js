// @ts-check
/** Privacy: how long people are kept, whom to forget, who searched, and where data goes. */
import { get, post, put } from "./api.js";
import { archive } from "./archive.js";
import { button, byId, field, h, icon, show } from "./dom.js";
import { time } from "./format.js";
import { t } from "./messages.js";
import { complain, note, nothing } from "./notes.js";
import { filled, panelOf } from "./panels.js";
import { may } from "./role.js";
import { showArchive } from "./shell.js";
import { cropOf } from "./tray.js";

const ENTRIES = 25;
const MOST_NAMED = 6; // of a list in an entry
const MOST_TRACKS = 50; // people whose appearances are looked up
const MOST_SAID = 160; // letters of the details of an entry
const FOREVER = "forever";
const KEEP = ["12h", "1d", "7d", "30d", "90d", "365d", FOREVER];

const here = await archive();
/** People who are to be forgotten. @type {number[]} */
let items = (new URLSearchParams(location.search).get("items") ?? "")
  .split(",")
  .filter(Boolean)
  .map(Number);

async function showRetention() {
  const now = await get(`/retention?archive=${here.id}`);
  const lead = h("p", { class: "small soft" }, t("retention.lead"));
  const due =
    now.n_due > 0 &&
    h("p", { class: "hint-box" }, icon("info"), t("retention.due", { n: now.n_due }));
  const shown = may("admin") ? retentionForm(now) : retentionFacts(now);
  show(retention.body, lead, shown, due, oldCases(now.old_cases));
}

/** Cases that are older than scenes may be; somebody has to look at them. @param {{id: string, name: string}[]} cases */
function oldCases(cases) {
  if (!cases.length) return null;
  const links = cases
    .slice(0, MOST_NAMED)
    .map((one) => h("li", {}, h("a", { href: `/cases/${one.id}` }, one.name)));
  return h(
    "div",
    { class: "hint-box" },
    icon("info"),
    h("div", {}, h("p", {}, t("retention.old_cases", { n: cases.length })), h("ul", {}, links)),
  );
}

/** @typedef {{keep: string, by: string, n_due: number, old_cases: {id: string, name: string}[]}} Retention */

/** How long a policy keeps scenes, in words. @param {string} keep */
const keepWords = (keep) => (KEEP.includes(keep) ? t(`retention.${keep}`) : keep);

/** The policy for those who may not change it. @param {Retention} now */
function retentionFacts(now) {
  return h(
    "dl",
    { class: "facts" },
    h("dt", {}, t("retention.keep")),
    h("dd", {}, keepWords(now.keep)),
    now.keep !== FOREVER && [
      h("dt", {}, t("retention.by")),
      h("dd", {}, t(`retention.by_${now.by}`)),
    ],
  );
}

/** @param {Retention} now */
function retentionForm(now) {
  const choices = KEEP.includes(now.keep) ? KEEP : [...KEEP, now.keep];
  const keep = h(
    "select",
    { class: "input" },
    choices.map((value) => h("option", { value, selected: value === now.keep }, keepWords(value))),
  );
  const by = h(
    "select",
    { class: "input" },
    ["added", "taken"].map((value) =>
      h("option", { value, selected: value === now.by }, t(`retention.by_${value}`)),
    ),
  );
  const save = async () => {
    try {
      await put(`/retention?archive=${here.id}`, { keep: keep.value, by: by.value });
      note(t("saved"));
    } catch (error) {
      complain(error);
    }
  };
  return [
    field(t("retention.keep"), keep),
    field(t("retention.by"), by),
    h("div", { class: "row" }, button({ text: t("save"), onclick: save })),
  ];
}

async function showConnections() {
  const all = await get("/connections");
  const list = all.length
    ? h(
        "ul",
        { class: "stack-tight" },
        all.map((/** @type {any} */ one) =>
          h("li", {}, typeof one === "string" ? one : (one.name ?? JSON.stringify(one))),
        ),
      )
    : h(
        "div",
        { class: "hint-box good" },
        icon("privacy"),
        h("p", {}, h("strong", {}, t("connections.none")), h("br"), t("connections.none_text")),
      );
  show(connections.body, h("p", { class: "small soft" }, t("connections.lead")), list);
}

/** @param {any} [would] the answer of a dry run */
function showForget(would) {
  if (!items.length)
    return show(
      forget.body,
      nothing(
        "person",
        "forget.empty",
        h("a", { class: "button", href: "/" }, icon("search"), t("forget.find")),
      ),
    );
  const people = h(
    "ul",
    { class: "judged-list" },
    items.map((item) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "judged",
            title: t("forget.leave", { item: String(item) }),
            "aria-label": t("forget.leave", { item: String(item) }),
            onclick: () => ((items = items.filter((one) => one !== item)), showForget()),
          },
          h("img", { src: cropOf(item, here.id), alt: "" }),
          icon("no"),
        ),
      ),
    ),
  );
  const tools = h(
    "div",
    { class: "row", id: "forget-tools" },
    button({ icon: "info", text: t("forget.dry_run"), onclick: dryRun }),
  );
  show(
    forget.body,
    h("p", { class: "soft" }, t("forget.lead")),
    people,
    h("div", { id: "forget-more" }),
    would ? sure(would) : tools,
  );
  offerWholeAppearances(would).catch(complain);
}

/**
 * Somebody who is in a video is there in many frames: offer all sightings in a row.
 * @param {any} [would] the answer of a dry run; it is asked for again with those who are added
 */
async function offerWholeAppearances(would) {
  const chosen = items;
  const tracks = await Promise.all(
    chosen
      .slice(0, MOST_TRACKS)
      .map((item) => get(`/people/${item}/track?archive=${here.id}`).catch(() => [])),
  );
  const others = new Set(tracks.flat().map((one) => one.item));
  for (const item of chosen) others.delete(item);
  const place = forget.body.querySelector("#forget-more"); // the page may not show it yet
  if (!place || chosen !== items) return;
  place.dataset.known = "";
  if (!others.size) return;
  const add = () => {
    items = [...items, ...others];
    return would ? dryRun() : showForget();
  };
  show(
    place,
    h(
      "div",
      { class: "hint-box offer", role: "status" },
      icon("info"),
      h("p", {}, t("forget.whole", { n: others.size })),
      button({ icon: "plus", text: t("forget.add"), class: "tight", onclick: add }),
    ),
  );
}

/** @param {any} would */
function sure(would) {
  const why = h("input", { class: "input", required: true, maxlength: 500 });
  const go = button({
    icon: "trash",
    text: t("forget.go", { n: would.n_people }),
    class: "danger main",
    type: "submit",
  });
  const form = h(
    "form",
    { class: "stack" },
    h("div", { class: "hint-box bad", role: "status" }, icon("warning"), h("p", {}, told(would))),
    field(t("forget.reason"), why, t("forget.reason_hint")),
    h(
      "div",
      { class: "row" },
      go,
      button({ text: t("cancel"), class: "bare", onclick: () => showForget() }),
    ),
  );
  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const erased = await post("/forget", {
        archive: here.id,
        items,
        reason: why.value,
        dry_run: false,
      });
      items = [];
      history.replaceState(null, "", `/privacy?archive=${here.id}`);
      const done = h(
        "div",
        { class: "hint-box good", role: "status", tabindex: "-1" },
        icon("yes"),
        h("p", {}, t("forget.done", { n: erased.n_people, scenes: erased.scenes.length })),
      );
      show(
        forget.body,
        done,
        h("p", { class: "soft" }, t("forget.again")),
        h(
          "div",
          { class: "row" },
          h("a", { class: "button", href: "/" }, icon("search"), t("forget.search")),
        ),
      );
      done.focus({ preventScroll: true });
      await Promise.all([showAudit(0), showArchive({ anew: true })]);
    } catch (error) {
      go.disabled = false;
      complain(error);
    }
  });
  return form;
}

/** @param {any} would */
const told = (would) => t("forget.would", { n: would.n_people, scenes: would.scenes.length });

/** The details of an entry, in a line. @param {any} details */
function details(details) {
  if (typeof details !== "object" || details === null) return String(details ?? "");
  const isNothing = (/** @type {any} */ value) =>
    value === "" || value === null || value === 0 || (Array.isArray(value) && !value.length);
  const text = Object.entries(details)
    .filter(([name, value]) => name !== "user" && !isNothing(value))
    .map(([name, value]) => `${name.replace(/^n_/, "").replaceAll("_", " ")}: ${oneLine(value)}`)
    .join(" · ");
  return text.length > MOST_SAID ? `${text.slice(0, MOST_SAID)}…` : text;
}

/** @param {any} value */
function oneLine(value) {
  if (!Array.isArray(value))
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  const first = value.slice(0, MOST_NAMED).map(inWords).join(", ");
  return value.length > MOST_NAMED
    ? t("audit.and_more", { first, n: value.length - MOST_NAMED })
    : first;
}

const ASKED = /^(not )?(?:item:(\d+)|(q[\w-]{22}):\d+|case:[^:]+:\d+)$/;

/** Somebody who was asked for: of the archive, or a choice in a picture. @param {any} value */
function inWords(value) {
  const found = ASKED.exec(String(value));
  if (!found) return String(value);
  const [, not, item, picture] = found;
  const said = item
    ? t("audit.item", { item })
    : picture
      ? t("audit.picture", { id: picture.slice(1, 5) })
      : t("audit.case");
  return not ? t("audit.not", { said }) : said;
}

async function dryRun() {
  try {
    showForget(await post("/forget", { archive: here.id, items, reason: "", dry_run: true }));
    document.querySelector("#forget input")?.focus();
  } catch (error) {
    complain(error);
  }
}

/** @param {number} offset */
async function showAudit(offset) {
  const { verified, total, entries } = await get(
    `/audit?${new URLSearchParams({ archive: here.id, offset: String(offset), limit: String(ENTRIES) })}`,
  );
  show(
    audit.tools,
    h(
      "span",
      { class: `chain ${verified ? "good" : "bad"}` },
      icon(verified ? "chain" : "warning"),
      t(verified ? "audit.verified" : "audit.broken"),
    ),
  );
  if (!entries.length) return show(audit.body, h("p", { class: "soft" }, t("audit.empty")));
  const page = (/** @type {number} */ to, /** @type {string} */ name, /** @type {boolean} */ can) =>
    button({
      icon: name,
      title: t(`audit.${name}`),
      class: "tight",
      disabled: !can,
      onclick: () => showAudit(to).catch(complain),
    });
  show(
    audit.body,
    h(
      "div",
      { class: "table-box" },
      h(
        "table",
        {},
        h("caption", { class: "unseen" }, t("audit.title")),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["when", "what", "by", "purpose", "detail"].map((name) =>
              h("th", { scope: "col" }, t(`audit.${name}`)),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          entries.map((/** @type {any} */ one) =>
            h(
              "tr",
              {},
              h("td", { class: "moment" }, time(one.time, { seconds: true })),
              h("td", {}, one.action),
              h("td", {}, one.details?.user ?? one.who),
              h("td", {}, one.purpose),
              h("td", { class: "long" }, details(one.details)),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "row" },
      page(offset - ENTRIES, "left", offset > 0),
      page(offset + ENTRIES, "right", offset + entries.length < total),
      h(
        "span",
        { class: "small soft number" },
        t("audit.range", { from: offset + 1, to: offset + entries.length, total }),
      ),
    ),
  );
}

const [retention, connections, forget, audit] = ["retention", "connections", "forget", "audit"].map(
  (name) => panelOf(name, t(`${name}.title`)),
);
const isAdmin = may("admin");
await Promise.all([
  filled(retention, showRetention),
  filled(connections, showConnections),
  ...(isAdmin ? [filled(forget, showForget), filled(audit, () => showAudit(0))] : []),
]);
show(
  byId("privacy"),
  h("div", { class: "panels privacy-top" }, retention.panel, connections.panel),
  isAdmin
    ? [forget.panel, audit.panel]
    : h("p", { class: "hint-box" }, icon("info"), t("privacy.of_admins")),
);
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
document.querySelector("#forget-tools button")?.focus({ preventScroll: true });
