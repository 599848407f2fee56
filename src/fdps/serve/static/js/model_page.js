// @ts-check
/** The model of the archive: card, licence, figures, calibration, limits. */
import { get } from "./api.js";
import { archive } from "./archive.js";
import { byId, h, icon, s, show } from "./dom.js";
import { sentence, similarity } from "./format.js";
import { t } from "./messages.js";
import { failed } from "./notes.js";

const MOST_WIDTH = 900;
const HEIGHT = 260;
const LEFT = 52;
const BOTTOM = 34;

async function load() {
  const here = await archive();
  const model = await get(`/model?archive=${here.id}`);
  show(
    byId("model"),
    h("div", { class: "panels" }, card(model), metrics(model)),
    calibration(model),
    limits(model),
  );
}

/** @param {any} model */
function card(model) {
  const facts = {
    name: model.name,
    kind: model.kind,
    licence: model.licence || t("model.unknown"),
    data: model.data,
    data_licence: model.data_licence,
    hash: model.model_hash && h("code", {}, model.model_hash.slice(0, 16)),
    notes: model.notes,
  };
  return h(
    "section",
    { class: "panel" },
    h("header", {}, h("h2", {}, t("model.card"))),
    h(
      "dl",
      { class: "facts" },
      Object.entries(facts)
        .filter(([, value]) => value)
        .map(([name, value]) => [h("dt", {}, t(`model.${name}`)), h("dd", {}, value)]),
    ),
    model.problem && h("p", { class: "hint-box bad" }, icon("warning"), sentence(model.problem)),
  );
}

/** @param {any} model */
function metrics(model) {
  const all = Object.entries(model.metrics ?? {}).filter(([, value]) => typeof value === "number");
  const table = h(
    "dl",
    { class: "figures" },
    all.map(([name, value]) =>
      h(
        "div",
        {},
        h("dt", {}, name),
        h("dd", {}, value <= 1 ? value.toFixed(3) : value.toLocaleString()),
      ),
    ),
  );
  return h(
    "section",
    { class: "panel" },
    h("header", {}, h("h2", {}, t("model.metrics"))),
    all.length ? table : h("p", { class: "soft" }, t("model.no_metrics")),
  );
}

/** What the model does not know, and what no model of this kind knows. @param {any} model */
function limits(model) {
  const all = [
    model.limits && sentence(model.limits),
    t("model.limit_clothes"),
    t("model.limit_calibration"),
  ].filter(Boolean);
  return h(
    "section",
    { class: "panel" },
    h("header", {}, h("h2", {}, t("model.limits"))),
    h(
      "ul",
      { class: "stack-tight" },
      all.map((one) => h("li", { class: "row limit" }, icon("warning"), h("span", {}, one))),
    ),
  );
}

/** @param {any} model */
function calibration({ calibration: points, calibrated_on: data, levels }) {
  const heading = h("header", {}, h("h2", { id: "calibration-title" }, t("model.calibration")));
  if (!points?.length)
    return h(
      "section",
      { class: "panel", id: "calibration" },
      heading,
      h(
        "div",
        { class: "stack-tight" },
        h("p", {}, t("model.uncalibrated")),
        h("p", {}, t("model.calibrate")),
        h("pre", { class: "command" }, h("code", {}, t("model.calibrate_command"))),
      ),
    );
  const chosen = points.filter(
    (/** @type {any} */ _, /** @type {number} */ at, /** @type {any[]} */ all) =>
      at % Math.max(1, Math.floor(all.length / 8)) === 0,
  );
  const table = h(
    "details",
    {},
    h("summary", {}, t("model.as_table")),
    h(
      "div",
      { class: "table-box" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["similarity", "rate", "kept"].map((name) =>
              h("th", { scope: "col", class: "number" }, t(`model.${name}`)),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          chosen.map((/** @type {any} */ one) =>
            h(
              "tr",
              {},
              h("td", { class: "number" }, similarity(one.similarity)),
              h("td", { class: "number" }, one.wrong.toExponential(1)),
              h("td", { class: "number" }, `${Math.round(100 * one.kept)} %`),
            ),
          ),
        ),
      ),
    ),
  );
  return h(
    "section",
    { class: "panel", id: "calibration" },
    heading,
    h(
      "div",
      { class: "stack" },
      h("p", { class: "soft" }, t("model.calibration_lead", { data })),
      h(
        "figure",
        { class: "stack-tight" },
        plot(points, levels),
        h(
          "figcaption",
          { class: "row small soft" },
          h("span", { class: "row" }, h("span", { class: "swatch kept" }), t("model.kept")),
          h("span", { class: "row" }, h("span", { class: "swatch wrong" }), t("model.wrong")),
        ),
      ),
      table,
    ),
  );
}

/** Kept true candidates (a line) and wrong candidates in 10,000 people (a dashed line, logarithmic). @param {any[]} points @param {{strong: number, worth_a_look: number}} levels */
function plot(points, { strong, worth_a_look: worth }) {
  const width = Math.min(MOST_WIDTH, byId("model").clientWidth - 40);
  const first = points[0].similarity;
  const last = points[points.length - 1].similarity;
  const x = (/** @type {number} */ value) =>
    LEFT + ((width - LEFT - 12) * (value - first)) / (last - first);
  const y = (/** @type {number} */ share) => 8 + (HEIGHT - BOTTOM - 8) * (1 - share);
  const [low, high] = [-3, 4];
  const logarithm = (/** @type {number} */ rate) =>
    Math.min(1, Math.max(0, (Math.log10(Math.max(1e-12, rate * 10_000)) - low) / (high - low)));
  const path = (/** @type {(one: any) => number} */ value) =>
    points
      .map(
        (/** @type {any} */ one, /** @type {number} */ at) =>
          `${at ? "L" : "M"}${x(one.similarity).toFixed(1)} ${y(value(one)).toFixed(1)}`,
      )
      .join("");
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) =>
    s(
      "g",
      {},
      s("line", { class: "grid", x1: LEFT, x2: width - 12, y1: y(share), y2: y(share) }),
      s("text", { x: LEFT - 8, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`),
    ),
  );
  const below = Array.from(
    { length: width < 500 ? 4 : 6 },
    (_, at) => first + ((last - first) * at) / (width < 500 ? 3 : 5),
  ).map((value) =>
    s("text", { x: x(value), y: HEIGHT - 12, "text-anchor": "middle" }, similarity(value)),
  );
  const marks = /** @type {[string, number][]} */ ([
    ["strong", strong],
    ["worth_a_look", worth],
  ]).map(([name, value]) =>
    s(
      "g",
      {},
      s("line", { class: "mark", x1: x(value), x2: x(value), y1: 8, y2: HEIGHT - BOTTOM }),
      s(
        "text",
        {
          class: "mark-name",
          x: x(value) - 4,
          y: name === "strong" ? 20 : 36,
          "text-anchor": "end",
        },
        t(`level.${name}`),
      ),
    ),
  );
  return s(
    "svg",
    {
      class: "plot",
      viewBox: `0 0 ${width} ${HEIGHT}`,
      role: "img",
      "aria-label": t("model.plot"),
    },
    ticks,
    below,
    marks,
    s("path", { class: "kept", d: path((one) => one.kept) }),
    s("path", { class: "wrong", d: path((one) => logarithm(one.wrong)) }),
  );
}

load().catch((error) =>
  show(
    byId("model"),
    failed(error, () => location.reload()),
  ),
);
