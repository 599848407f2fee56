// @ts-check
/** The page of the timeline of a search. */
import { post } from "./api.js";
import { archive } from "./archive.js";
import { Cards } from "./cards.js";
import { button, byId, h, icon, show } from "./dom.js";
import { levelWord } from "./format.js";
import { listen } from "./keys.js";
import { look } from "./look.js";
import { t } from "./messages.js";
import { complain, failed, nothing } from "./notes.js";
import { Question, personOf } from "./question.js";
import { scenePage } from "./scenes.js";
import { isoOf, moment, timelineChart } from "./timeline_chart.js";
import { wantedPicture } from "./tray.js";

/** @typedef {import("./cards.js").Hit} Hit */

const question = new Question(new URLSearchParams(location.search));
const room = byId("timeline");
/** @type {Hit[]} */
let hits = [];
/** @type {[number, number] | null} */
let brushed = null;
const here = await archive();
const list = h("ol", { class: "cards" });
const heading = h("h2", { tabindex: "-1" }, " ");
const cards = new Cards(list, { look: lookAt });

async function load() {
  const body = await question.body();
  const [found, lines] = await Promise.all([post("/search", body), post("/timeline", body)]);
  hits = found.hits;
  if (!lines.cameras.some((/** @type {any} */ camera) => camera.bars.length))
    return show(room, nothing("timeline", "timeline.none"));
  const place = h("div", { class: "chart-room" });
  show(
    room,
    h("h2", { class: "unseen", id: "timeline-words" }, t("timeline.chart")),
    place,
    h("div", { class: "row" }, legend(), h("span", { class: "push" }), tools()),
  );
  timelineChart(place, withLevels(lines), {
    open,
    onbrush: (range) => ((brushed = range), showCards()),
  });
  show(
    byId("brushed"),
    h(
      "div",
      { class: "row" },
      heading,
      h("span", { class: "push" }),
      button({ icon: "filter", text: t("timeline.take"), onclick: take }),
    ),
    list,
  );
  showCards();
}

/** A bar of the server tells a similarity; its level is that of the hit. @param {any} lines */
function withLevels(lines) {
  const levels = new Map(hits.map((hit) => [hit.item, hit.level]));
  return {
    ...lines,
    cameras: lines.cameras.map((/** @type {any} */ camera) => ({
      ...camera,
      bars: camera.bars.map((/** @type {any} */ bar) => ({
        level: levels.get(bar.item) ?? null,
        ...bar,
      })),
    })),
  };
}

function tools() {
  return [
    h(
      "a",
      { class: "button tight", href: `/?${question.parameters()}` },
      icon("search"),
      t("timeline.back"),
    ),
    button({ icon: "print", text: t("print"), class: "tight", onclick: () => print() }),
  ];
}

function legend() {
  if (!hits.some((hit) => hit.level)) return null;
  return h(
    "ul",
    { class: "row small soft timeline-legend" },
    ["strong", "worth a look", "weak"].map((level, at) =>
      h("li", { class: "row" }, h("span", { class: `swatch rank-${3 - at}` }), levelWord(level)),
    ),
  );
}

function showCards() {
  const shown = hits.filter(
    (hit) =>
      !brushed ||
      (hit.scene.time &&
        moment(hit.scene.time) >= brushed[0] &&
        moment(hit.scene.time) <= brushed[1]),
  );
  heading.textContent = t("timeline.found", { n: shown.length });
  cards.show(shown, "crops");
}

/** Search again within the brushed time. */
function take() {
  if (brushed)
    Object.assign(question.filters, {
      after: isoOf(brushed[0]).slice(0, 16),
      before: isoOf(brushed[1]).slice(0, 16),
    });
  location.assign(`/?${question.parameters()}`);
}

/** @param {import("./timeline_chart.js").Bar} bar */
async function open(bar) {
  const hit = hits.find((one) => one.item === bar.item);
  if (hit) return lookAt(hit);
  try {
    const { scene } = await personOf(bar.item, here.id);
    location.assign(scenePage(scene.name, here.id, bar.item));
  } catch (error) {
    complain(error);
  }
}

/** @param {Hit} hit */
function lookAt(hit) {
  look(hit, {
    wanted: () => question.like.slice(0, 3).map((id) => wantedPicture(id, here.id)),
    neighbour: (from, by) =>
      cards.hits[cards.hits.findIndex((one) => one.item === from.item) + by] ?? null,
    similar: (one) =>
      location.assign(`/?${new URLSearchParams({ archive: here.id, like: `item:${one.item}` })}`),
    sceneOf: (one) => scenePage(one.scene.name, here.id, one.item),
  });
}

listen(
  { key: "j", shown: "j →", text: "keys.next", run: () => cards.move(1) },
  { key: "k", shown: "k ←", text: "keys.before", run: () => cards.move(-1) },
);
if (question.isAsked) {
  question.keep();
  load().catch((error) =>
    show(
      room,
      failed(error, () => location.reload()),
    ),
  );
} else
  show(
    room,
    nothing(
      "timeline",
      "timeline.empty",
      h("a", { class: "button main", href: "/" }, icon("search"), t("nav.search")),
    ),
  );
