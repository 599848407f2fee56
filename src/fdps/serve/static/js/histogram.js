// @ts-check
/** The slider of similarity over a histogram of everybody who was looked at. */
import { h, icon, s, show } from "./dom.js";
import { expected, similarity } from "./format.js";
import { t } from "./messages.js";

const WIDTH = 240;
const HEIGHT = 64;

/** @typedef {{histogram: {edges: number[], counts: number[]} | null, marks: {strong: number, worth_a_look: number} | null, expected_wrong: {strong: number, worth_a_look: number} | null}} Scale */

export class SimilaritySlider {
  /** @param {(least: number | null) => void} onleast called while the slider moves; `null` is its left end */
  constructor(onleast) {
    this.onleast = onleast;
    this.chart = h("div", { class: "histogram" });
    this.input = h("input", {
      type: "range",
      id: "least",
      min: -1,
      max: 1,
      step: 0.005,
      value: -1,
      "aria-describedby": "least-said",
    });
    this.said = h("output", { class: "number small", id: "least-said", for: "least" }, " ");
    this.legend = h("div", { class: "legend small" });
    this.input.addEventListener("input", () => this.moved());
    this.element = h(
      "section",
      { class: "slider stack-tight" },
      h(
        "div",
        { class: "row" },
        h("label", { for: "least", class: "label" }, t("slider.label")),
        h("span", { class: "push" }),
        this.said,
      ),
      h("div", { class: "slider-box" }, this.chart, this.input),
      this.legend,
    );
  }

  /** @param {Scale} scale @param {number | null} least */
  show(scale, least) {
    const { edges, counts } = scale.histogram ?? { edges: [-1, 1], counts: [0] };
    this.scale = { ...scale, histogram: { edges, counts } };
    this.input.min = edges[0];
    this.input.max = edges[edges.length - 1];
    this.input.value = least ?? edges[0];
    show(this.legend, legend(scale));
    this.draw();
  }

  get least() {
    const value = Number(this.input.value);
    return value <= Number(this.input.min) + 1e-9 ? null : value;
  }

  moved() {
    this.draw();
    this.onleast(this.least);
  }

  draw() {
    if (!this.scale) return;
    const { edges, counts } = this.scale.histogram;
    const x = (/** @type {number} */ value) =>
      (WIDTH * (value - edges[0])) / (edges[edges.length - 1] - edges[0]);
    // Most people are unlike: on a linear scale the few who count would not be seen.
    const most = Math.log1p(Math.max(1, ...counts));
    const bars = counts.map((count, at) => {
      const height = (HEIGHT * Math.log1p(count)) / most;
      return s("rect", {
        class: edges[at + 1] > Number(this.input.value) ? "in" : "out",
        x: x(edges[at]) + 0.5,
        y: HEIGHT - height,
        width: Math.max(1, x(edges[at + 1]) - x(edges[at]) - 1),
        height,
      });
    });
    const marks = Object.entries(this.scale.marks ?? {}).filter(
      ([, value]) => value >= edges[0] && value <= edges[edges.length - 1],
    );
    const lines = marks.map(([name, value]) =>
      s(
        "g",
        {},
        s("line", { class: `mark ${name}`, x1: x(value), x2: x(value), y1: 0, y2: HEIGHT }),
        s("title", {}, t(`level.${name}`)),
      ),
    );
    show(
      this.chart,
      s(
        "svg",
        {
          viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
          preserveAspectRatio: "none",
          role: "img",
          "aria-label": t("slider.chart"),
        },
        bars,
        lines,
      ),
    );
    this.said.textContent =
      this.least === null
        ? t("slider.all")
        : t("slider.from", { similarity: similarity(this.least) });
  }
}

/** What the marks mean, with the wrong candidates to expect. @param {Scale} scale */
function legend({ marks, expected_wrong: wrong }) {
  if (!wrong) return unknown();
  const said = (/** @type {"strong" | "worth_a_look"} */ name) =>
    marks
      ? t("slider.mark", { from: similarity(marks[name]), wrong: expected(wrong[name]) })
      : t("slider.most", { wrong: expected(wrong[name]) });
  const levels = /** @type {const} */ (["strong", "worth_a_look"]).map((name) => [
    h("dt", {}, icon(name === "strong" ? "level-3" : "level-2"), t(`level.${name}`)),
    h("dd", { class: "soft" }, said(name)),
  ]);
  return [
    h("dl", { class: "marks-list" }, levels),
    !marks && h("p", { class: "soft" }, t("slider.several")),
  ];
}

function unknown() {
  const how = h("a", { href: "/model#calibration" }, t("slider.how"));
  return h("div", { class: "hint-box" }, icon("info"), h("p", {}, t("slider.unknown"), " ", how));
}
