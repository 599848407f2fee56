// @ts-check
/** Whom to look at: cameras, times, heights, and whether sightings are grouped. */
import { button, field, h, icon, show } from "./dom.js";
import { t } from "./messages.js";

const PAUSE_MS = 350;

/**
 * Build the controls of the filters.
 * @param {HTMLElement} body
 * @param {import("./archive.js").Archive} archive
 * @param {import("./question.js").Question} question
 * @param {() => void} onchange
 */
export function showFilters(body, archive, question, onchange) {
  /** @type {number | undefined} */
  let pause;
  const later = () => {
    clearTimeout(pause);
    pause = setTimeout(onchange, PAUSE_MS);
  };
  const text = (/** @type {string} */ name, /** @type {Record<string, any>} */ attributes) =>
    h("input", {
      class: "input",
      value: question.filters[name],
      ...attributes,
      oninput: (/** @type {Event} */ event) => (
        (question.filters[name] = /** @type {HTMLInputElement} */ (event.target).value),
        later()
      ),
    });
  const range = {
    min: archive.first?.slice(0, 16),
    max: archive.last?.slice(0, 16),
    type: "datetime-local",
  };
  const clear = button({
    text: t("filters.clear"),
    class: "tight",
    onclick: () => {
      question.cameras = [];
      for (const name of Object.keys(question.filters)) question.filters[name] = "";
      showFilters(body, archive, question, onchange);
      onchange();
    },
  });
  show(
    body,
    archive.cameras.length > 0 &&
      h(
        "fieldset",
        { class: "field" },
        h("legend", {}, t("filters.cameras")),
        h(
          "div",
          { class: "chips" },
          archive.cameras.map((name) => camera(name, question, later)),
        ),
      ),
    h(
      "div",
      { class: "stack-tight" },
      field(t("filters.after"), text("after", range)),
      field(t("filters.before"), text("before", range)),
    ),
    timeOfDay(question, later),
    field(
      t("filters.height"),
      text("min_height", {
        type: "number",
        min: 0,
        max: 10000,
        step: 1,
        inputmode: "numeric",
        placeholder: "0",
      }),
    ),
    h(
      "fieldset",
      { class: "field" },
      h("legend", {}, t("filters.group")),
      ["none", "appearance"].map((value) =>
        h(
          "label",
          { class: "choice small" },
          h("input", {
            type: "radio",
            name: "group",
            value,
            checked: question.group === value,
            onchange: () => ((question.group = value), onchange()),
          }),
          t(`filters.group_${value}`),
        ),
      ),
    ),
    h("div", { class: "row" }, clear),
  );
}

/** @param {string} name @param {import("./question.js").Question} question @param {() => void} later */
function camera(name, question, later) {
  const input = h("input", {
    type: "checkbox",
    name: "camera",
    value: name,
    checked: question.cameras.includes(name),
  });
  input.addEventListener("change", () => {
    question.cameras = question.cameras.filter((other) => other !== name);
    if (input.checked) question.cameras.push(name);
    later();
  });
  return h("label", { class: "chip" }, input, icon("yes"), name);
}

/** @param {import("./question.js").Question} question @param {() => void} later */
function timeOfDay(question, later) {
  const [from = "", until = ""] = question.filters.time_of_day.split("-");
  const input = (/** @type {string} */ value, /** @type {string} */ label) =>
    h("input", { class: "input", type: "time", value, "aria-label": label });
  const first = input(from, t("filters.day_from"));
  const last = input(until, t("filters.day_until"));
  const changed = () => {
    question.filters.time_of_day = first.value && last.value ? `${first.value}-${last.value}` : "";
    later();
  };
  first.addEventListener("input", changed);
  last.addEventListener("input", changed);
  return h(
    "fieldset",
    { class: "field" },
    h("legend", {}, t("filters.day")),
    h("div", { class: "pair" }, first, last),
  );
}
