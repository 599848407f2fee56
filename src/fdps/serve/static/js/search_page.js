// @ts-check
/** The page of a search: choose a person, look at candidates, judge them. */
import { get, post } from "./api.js";
import { archive } from "./archive.js";
import { askIn } from "./asking.js";
import { exportCase, newCase, writeVerdict } from "./casework.js";
import { Cards } from "./cards.js";
import { menu } from "./dialogs.js";
import { button, byId, h, show } from "./dom.js";
import { showFilters } from "./filters.js";
import { SimilaritySlider } from "./histogram.js";
import { listen } from "./keys.js";
import { look } from "./look.js";
import { t } from "./messages.js";
import { complain, failed, note, nothing } from "./notes.js";
import { Question, TOP } from "./question.js";
import { may } from "./role.js";
import { forgetPage, scenePage } from "./scenes.js";
import { showScenes, takePictures } from "./start.js";
import { showTray, wantedPicture } from "./tray.js";
import { showVerdicts } from "./verdicts.js";

/** @typedef {import("./cards.js").Hit} Hit */
/** @typedef {"confirmed" | "rejected"} Verdict */

let question = new Question(new URLSearchParams(location.search));
/** @type {any} the last answer */
let answer = null;
/** @type {any} the case that the search belongs to */
let kept = null;
/** @type {AbortController | null} */
let running = null;
const here = await archive();
const cards = new Cards(byId("cards"), { look: lookAt, judge, more: openMenu });
const slider = new SimilaritySlider((least) => {
  question.least = least;
  question.keep();
  showHits();
});

/** Show one of the three parts of the page. @param {"start" | "choose" | "results"} part */
function turnTo(part) {
  for (const name of ["start", "choose", "results"]) byId(name).hidden = name !== part;
  byId("search").dataset.state = part;
}

/** @param {File} file */
async function askWith(file) {
  try {
    turnTo("choose");
    const selection = await askIn(file);
    if (!selection) return turnTo(question.isAsked ? "results" : "start");
    question.like.push(selection);
    await begin();
  } catch (error) {
    turnTo(question.isAsked ? "results" : "start");
    complain(error);
  }
}

/** Show the results of a question whose people have changed. */
async function begin() {
  question.keep({ isNew: true });
  turnTo("results");
  byId("found-title").focus({ preventScroll: true });
  showQuestion();
  await search();
}

function showQuestion() {
  showTray(byId("tray"), question, {
    archive: here.id,
    onadd: () => byId("file").click(),
    onremove: takeOut,
  });
  const body = byId("filter-body");
  if (!body.hasChildNodes()) {
    const controls = h("div", { class: "stack" });
    show(body, slider.element, controls);
    showFilters(controls, here, question, () => search().catch(complain));
    byId("filters").open = matchMedia("(min-width: 56rem)").matches;
  }
  showJudged();
}

/** @param {string} id */
function takeOut(id) {
  question.like = question.like.filter((other) => other !== id);
  if (question.isAsked) begin().catch(complain);
  else {
    question = new Question();
    location.assign(location.pathname);
  }
}

async function search() {
  running?.abort();
  const mine = (running = new AbortController());
  question.keep();
  byId("found").setAttribute("aria-busy", "true");
  try {
    answer = await post("/search", await question.body(), { signal: mine.signal });
    slider.show(answer, question.least);
    await showHits();
  } catch (error) {
    if (mine.signal.aborted) return;
    answer = null;
    byId("found-title").textContent = t("search.failed");
    show(byId("reading"), "");
    show(byId("more"));
    show(
      byId("cards"),
      h(
        "li",
        { class: "whole" },
        failed(error, () => search()),
      ),
    );
  }
  if (running === mine) byId("found").removeAttribute("aria-busy");
}

/** The candidates that pass the slider and are not judged yet. @returns {Hit[]} */
function shownHits() {
  const judged = new Set([...question.confirmed, ...question.rejected]);
  return (answer?.hits ?? []).filter(
    (/** @type {Hit} */ hit) =>
      !judged.has(hit.item) && (question.least === null || hit.similarity >= question.least),
  );
}

/** Show the candidates; more than can be seen at once come a moment later. */
async function showHits() {
  if (!answer) return;
  const hits = shownHits();
  byId("found-title").textContent = t("search.found", { n: hits.length, of: answer.n_looked_at });
  show(byId("reading"), answer.reading);
  let shown;
  if (hits.length) shown = cards.show(hits, question.view === "crops" ? "crops" : "scenes");
  else {
    cards.show([], "scenes");
    show(
      byId("cards"),
      h(
        "li",
        { class: "whole" },
        nothing(
          "people",
          question.isFiltered || question.least !== null ? "search.none_here" : "search.none",
        ),
      ),
    );
  }
  const isCut =
    question.hasMore(answer.hits.length) &&
    (question.least === null || answer.hits.at(-1).similarity >= question.least);
  show(
    byId("more"),
    isCut &&
      button({
        text: t("search.more"),
        onclick: () => ((question.top += TOP), search().catch(complain)),
      }),
  );
  await shown;
}

function showTools() {
  const view = (/** @type {string} */ name, /** @type {string} */ sign) =>
    button({
      icon: sign,
      text: t(`view.${name}`),
      "aria-pressed": String(question.view === name),
      onclick: () => setView(name),
    });
  show(
    byId("found-tools"),
    h(
      "div",
      { class: "segments", role: "group", "aria-label": t("view.title") },
      view("scenes", "scene"),
      view("crops", "person"),
    ),
  );
}

/** @param {string} name */
function setView(name) {
  question.view = name === "crops" ? "crops" : "scenes";
  question.keep();
  showTools();
  showHits();
}

function showJudged() {
  const open =
    kept &&
    h(
      "a",
      { class: "button tight", href: `/cases/${kept.id}`, "aria-keyshortcuts": "c" },
      t("case.open", { name: kept.name }),
    );
  const tools = may("editor")
    ? [
        open ??
          button({
            icon: "cases",
            text: t("case.keep"),
            class: "tight",
            "aria-keyshortcuts": "c",
            onclick: () => keepAsCase(),
          }),
        button({
          icon: "download",
          text: t("export.button"),
          class: "tight",
          "aria-keyshortcuts": "e",
          onclick: () => exportNow(),
        }),
      ]
    : [h("div", { class: "judged-note small soft" }, h("p", {}, t("verdict.not_kept")), open)];
  showVerdicts(byId("verdicts"), question, {
    archive: here.id,
    undo: (item) => decide(item, null),
    tools,
  });
}

/** @param {Hit} hit @param {Verdict} verdict */
function judge(hit, verdict) {
  return decide(hit.item, verdict);
}

/** Take a verdict: it changes whom the search looks for, so the order changes at once. @param {number} item @param {Verdict | null} verdict */
async function decide(item, verdict) {
  const before = { confirmed: [...question.confirmed], rejected: [...question.rejected] };
  question.judge(item, verdict);
  showJudged();
  showHits();
  try {
    if (kept && may("editor")) kept = await writeVerdict(kept.id, item, verdict, kept.version);
  } catch (error) {
    Object.assign(question, before);
    showJudged();
    showHits();
    return complain(error);
  }
  await search();
}

async function keepAsCase() {
  kept = await newCase(question);
  question.case = kept.id;
  question.keep();
  showJudged();
  note(t("case.kept", { name: kept.name }));
  return kept;
}

/** Open the case of the search, or begin it. */
async function toCase() {
  if (kept) location.assign(`/cases/${kept.id}`);
  else await keepAsCase();
}

async function exportNow() {
  if (!question.confirmed.length)
    return note(t("export.nobody"), { more: t("export.nobody_hint") });
  const wanted = kept ?? (await keepAsCase());
  exportCase(wanted.id);
}

/** Begin a new search with a person of the archive. @param {Hit} hit */
function similar(hit) {
  const next = new Question();
  Object.assign(next, {
    like: [`item:${hit.item}`],
    archive: question.archive,
    view: question.view,
    cameras: question.cameras,
    filters: question.filters,
  });
  question = next;
  kept = null;
  scrollTo(0, 0);
  byId("filter-body").replaceChildren();
  begin().catch(complain);
}

/** @param {Hit} hit */
const sceneOf = (hit) => scenePage(hit.scene.name, here.id, hit.item);

/** @param {Hit} hit */
function lookAt(hit) {
  cards.mark(hit.item);
  look(hit, {
    wanted: () =>
      [...question.like, ...question.confirmed.map((item) => `item:${item}`)]
        .slice(0, 3)
        .map((id) => wantedPicture(id, here.id)),
    neighbour: (from, by) => {
      const all = cards.hits;
      const next = all[all.findIndex((one) => one.item === from.item) + by] ?? null;
      if (next) cards.mark(next.item);
      return next;
    },
    judge,
    similar,
    sceneOf,
  });
}

/** @param {Hit} hit @param {{x: number, y: number}} at */
function openMenu(hit, at) {
  cards.mark(hit.item);
  menu(at, [
    { icon: "similar", text: t("card.similar"), key: "s", run: () => similar(hit) },
    { icon: "scene", text: t("card.scene"), key: "o", run: () => location.assign(sceneOf(hit)) },
    { icon: "yes", text: t("verdict.confirm"), key: "y", run: () => judge(hit, "confirmed") },
    { icon: "no", text: t("verdict.reject"), key: "n", run: () => judge(hit, "rejected") },
    ...(may("admin")
      ? [
          {
            icon: "trash",
            text: t("card.forget"),
            run: () => location.assign(forgetPage(here.id, hit.appearance?.items ?? [hit.item])),
          },
        ]
      : []),
  ]);
}

/** Do something with the candidate that keys act on. @param {(hit: Hit) => any} act */
const withCurrent = (act) => () => cards.hit && act(cards.hit);

listen(
  { key: "a", text: "keys.add", run: () => byId("file").click() },
  { key: "j", shown: "j →", text: "keys.next", run: () => cards.move(1) },
  { key: "ArrowRight", text: "keys.next", run: () => cards.move(1) },
  { key: "k", shown: "k ←", text: "keys.before", run: () => cards.move(-1) },
  { key: "ArrowLeft", text: "keys.before", run: () => cards.move(-1) },
  { key: " ", shown: "Space", text: "keys.look", run: withCurrent(lookAt) },
  {
    key: "y",
    shown: "y ✓",
    text: "keys.confirm",
    run: withCurrent((hit) => judge(hit, "confirmed")),
  },
  {
    key: "n",
    shown: "n ✗",
    text: "keys.reject",
    run: withCurrent((hit) => judge(hit, "rejected")),
  },
  { key: "s", text: "keys.similar", run: withCurrent(similar) },
  { key: "o", text: "keys.scene", run: withCurrent((hit) => location.assign(sceneOf(hit))) },
  {
    key: "v",
    text: "keys.view",
    run: () => setView(question.view === "scenes" ? "crops" : "scenes"),
  },
);
if (may("editor"))
  listen(
    { key: "e", text: "keys.export", run: () => exportNow().catch(complain) },
    { key: "c", text: "keys.case", run: () => toCase().catch(complain) },
  );
for (let n = 1; n <= 9; n++) {
  listen({
    key: String(n),
    shown: "1 … 9",
    text: "keys.person",
    run: () =>
      /** @type {HTMLElement | null} */ (
        document.querySelector(`#choose .person-box[data-n="${n}"]`)
      )?.click(),
  });
}

/** Take up what a case knows. @param {string} id */
async function takeUp(id) {
  kept = await get(`/cases/${id}`);
  question.confirmed = kept.confirmed.map((/** @type {any} */ one) => one.item);
  question.rejected = kept.rejected.map((/** @type {any} */ one) => one.item);
  const meant = kept.query.filter((/** @type {any} */ one) => !one.is_unlike);
  if (!question.like.length)
    question.like = meant.map((/** @type {any} */ one) => `case:${id}:${one.n}`);
}

addEventListener("popstate", () => location.reload());
showTools();
takePictures(askWith);
try {
  if (question.case) await takeUp(question.case);
  if (question.isAsked) {
    showQuestion();
    await search();
  } else await showScenes();
} catch (error) {
  complain(error);
}
