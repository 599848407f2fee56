// @ts-check
/** Cameras over time: bars are appearances, and a stretch of time can be brushed. */
import { h, s, show } from "./dom.js";
import { levelRank, levelWord, similarity, time } from "./format.js";
import { t } from "./messages.js";

const ROW_PX = 34;
const NARROW_ROW_PX = 46; // with the name of the camera above its bars
const NARROW_PX = 520;
const BAR_PX = 16;
const NAMES_PX = 96;
const AXIS_PX = 28;
const LEAST_PX = 5; // of a bar, so that a single picture can be seen and clicked
const HOUR_MS = 3_600_000;
const STEPS = 200; // of the handles at least; a minute each where that is finer
const TICKS_MS = [
  60_000,
  300_000,
  900_000,
  1_800_000,
  HOUR_MS,
  3 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  24 * HOUR_MS,
  7 * 24 * HOUR_MS,
  30 * 24 * HOUR_MS,
  365 * 24 * HOUR_MS,
];

/** @typedef {{first: string, last: string, item: number, similarity: number | null, level?: string | null, n: number}} Bar */
/** @typedef {{cameras: {name: string, bars: Bar[]}[], first: string, last: string}} Lines */

/** The moment of a wall-clock time; offsets are left out, as everything is shown on the camera's clock. @param {string} iso */
export const moment = (iso) => Date.parse(`${iso.slice(0, 19)}Z`);

/** @param {number} ms */
export const isoOf = (ms) => new Date(ms).toISOString().slice(0, 19);

/**
 * Draw a timeline; it is drawn anew when its room changes.
 * @param {HTMLElement} room
 * @param {Lines} lines
 * @param {{open: (bar: Bar) => void, onbrush: (range: [number, number] | null) => void}} actions
 */
export function timelineChart(room, lines, { open, onbrush }) {
  const range = span(lines);
  /** @type {[number, number] | null} */
  let brushed = null;
  const chart = h("div", { class: "chart" });
  const handles = ["from", "until"].map((name, at) =>
    h("input", {
      type: "range",
      min: range[0],
      max: range[1],
      step: (range[1] - range[0]) / Math.max(STEPS, Math.ceil((range[1] - range[0]) / 60_000)),
      value: range[at],
      "aria-label": t(`timeline.${name}`),
      "aria-valuetext": time(isoOf(range[at])),
      oninput: () => slid(),
    }),
  );
  const said = h("output", { class: "small number" }, " ");
  const slid = () =>
    brush([
      Math.min(...handles.map((one) => Number(one.value))),
      Math.max(...handles.map((one) => Number(one.value))),
    ]);
  const brush = (/** @type {[number, number] | null} */ to) => {
    brushed = to && (to[0] > range[0] || to[1] < range[1]) ? to : null;
    const [from, until] = brushed ?? range;
    handles.forEach((handle, at) => {
      handle.value = at ? until : from;
      handle.setAttribute("aria-valuetext", time(isoOf(at ? until : from)));
    });
    said.textContent = brushed
      ? t("timeline.brushed", { from: time(isoOf(from)), until: time(isoOf(until)) })
      : t("timeline.whole");
    draw();
    onbrush(brushed);
  };
  const draw = () =>
    show(chart, drawing(lines, range, brushed, chart.clientWidth, { open, brush }));
  show(room, chart, h("div", { class: "handles" }, handles), h("div", { class: "row" }, said));
  chart.style.setProperty(
    "--h",
    `${lines.cameras.length * (chart.clientWidth < NARROW_PX ? NARROW_ROW_PX : ROW_PX) + AXIS_PX}px`,
  );
  new ResizeObserver(draw).observe(chart);
  draw();
  said.textContent = t("timeline.whole");
  return { brush };
}

/** The time that is shown: that of the archive, or of the bars where they reach further. @param {Lines} lines @returns {[number, number]} */
function span({ cameras, first, last }) {
  const bars = cameras.flatMap((camera) => camera.bars);
  const times = [first, last, ...bars.flatMap((bar) => [bar.first, bar.last])]
    .filter(Boolean)
    .map(moment);
  const [from, until] = [Math.min(...times), Math.max(...times)];
  const margin = Math.max(60_000, (until - from) * 0.01);
  return [from - margin, until + margin];
}

/**
 * @param {Lines} lines
 * @param {[number, number]} range
 * @param {[number, number] | null} brushed
 * @param {number} width
 * @param {{open: (bar: Bar) => void, brush: (range: [number, number] | null) => void}} actions
 */
function drawing({ cameras }, range, brushed, width, { open, brush }) {
  const isNarrow = width < NARROW_PX;
  const names = isNarrow ? 0 : NAMES_PX;
  const rowPx = isNarrow ? NARROW_ROW_PX : ROW_PX;
  const plot = width - names;
  const height = cameras.length * rowPx;
  const x = (/** @type {number} */ ms) => names + (plot * (ms - range[0])) / (range[1] - range[0]);
  const rows = cameras.map(({ name, bars }, row) => {
    const y = row * rowPx;
    const middle = isNarrow ? y + 29 : y + rowPx / 2;
    return s(
      "g",
      {},
      s("line", { class: "row-line", x1: 0, x2: width, y1: y + rowPx, y2: y + rowPx }),
      s(
        "text",
        { class: "camera", x: 0, y: isNarrow ? y + 14 : middle + 4 },
        shortened(name, names || 200),
      ),
      bars.map((bar) => barOf(bar, name, x, middle, open)),
    );
  });
  const svg = s(
    "svg",
    {
      width,
      height: height + AXIS_PX,
      viewBox: `0 0 ${width} ${height + AXIS_PX}`,
      role: "group",
      "aria-label": t("timeline.chart"),
    },
    brushed &&
      s("rect", {
        class: "brush",
        x: x(brushed[0]),
        y: 0,
        width: x(brushed[1]) - x(brushed[0]),
        height,
      }),
    rows,
    axis(range, x, height, plot),
  );
  brushable(svg, range, names, plot, brush);
  return svg;
}

/** @param {Bar} bar @param {string} camera @param {(ms: number) => number} x @param {number} middle @param {(bar: Bar) => void} open */
function barOf(bar, camera, x, middle, open) {
  const [from, until] = [x(moment(bar.first)), x(moment(bar.last))];
  const words = t("timeline.bar", {
    camera,
    first: time(bar.first, { seconds: true }),
    last: time(bar.last, { seconds: true }),
    level: bar.level ? levelWord(bar.level) : t("level.none"),
    similarity: bar.similarity === null ? "" : similarity(bar.similarity),
  });
  // The level is told by the height and the filling, so no colour has to be told apart.
  const rank = bar.level ? levelRank(bar.level) : 2;
  const high = BAR_PX * (rank === 1 ? 0.55 : 1);
  const element = s(
    "rect",
    {
      class: `appearance rank-${rank}`,
      x: from,
      y: middle - high / 2,
      width: Math.max(LEAST_PX, until - from),
      height: high,
      rx: 2.5,
      tabindex: 0,
      role: "button",
      "aria-label": words,
    },
    s("title", {}, words),
  );
  element.addEventListener("click", () => open(bar));
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open(bar);
  });
  return element;
}

/** @param {[number, number]} range @param {(ms: number) => number} x @param {number} y @param {number} plot */
function axis([from, until], x, y, plot) {
  const step =
    TICKS_MS.find((one) => (plot * one) / (until - from) >= 72) ?? TICKS_MS[TICKS_MS.length - 1];
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= until; at += step) ticks.push(at);
  const text = (/** @type {number} */ ms) =>
    step >= 24 * HOUR_MS ? time(isoOf(ms)).split(",")[0] : isoOf(ms).slice(11, 16);
  return s(
    "g",
    { class: "axis" },
    ticks.map((at) =>
      s(
        "g",
        {},
        s("line", { x1: x(at), x2: x(at), y1: 0, y2: y + 5 }),
        s("text", { x: x(at), y: y + 19, "text-anchor": "middle" }, text(at)),
      ),
    ),
  );
}

/** @param {SVGElement} svg @param {[number, number]} range @param {number} names @param {number} plot @param {(range: [number, number] | null) => void} brush */
function brushable(svg, range, names, plot, brush) {
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const left = svg.getBoundingClientRect().left;
    const at = (/** @type {PointerEvent} */ moved) =>
      range[0] +
      (range[1] - range[0]) * Math.min(1, Math.max(0, (moved.clientX - left - names) / plot));
    const start = at(event);
    const up = (/** @type {PointerEvent} */ ended) => {
      const end = at(ended);
      const isDrag = Math.abs(ended.clientX - event.clientX) > 6;
      if (isDrag) brush([Math.min(start, end), Math.max(start, end)]);
      else if (ended.target === svg) brush(null);
    };
    addEventListener("pointerup", up, { once: true });
  });
}

/** @param {string} name @param {number} px */
const shortened = (name, px) =>
  name.length * 7.5 > px ? `${name.slice(0, Math.floor(px / 7.5) - 1)}…` : name;
