// @ts-check
/** The library: what the archives hold, what was left out, and the jobs that add to them. */
import { eventsOf, get, post, remove } from "./api.js";
import { archive, archives } from "./archive.js";
import { formDialog } from "./dialogs.js";
import { button, byId, field, h, icon, show } from "./dom.js";
import { sentence, time } from "./format.js";
import { t } from "./messages.js";
import { complain, note, nothing } from "./notes.js";
import { filled, panelOf } from "./panels.js";
import { may } from "./role.js";

const here = await archive();
const panel = (/** @type {string} */ name) => panelOf(name, t(`library.${name}`));

async function showSources() {
  const all = await archives();
  const cameras = await get(`/cameras?archive=${here.id}`);
  show(
    sources.body,
    all.map((one) =>
      h(
        "div",
        { class: "stack-tight" },
        h("h3", {}, one.name),
        h(
          "dl",
          { class: "figures" },
          figure("library.people", one.n_people),
          figure("library.scenes", one.n_scenes),
          figure("library.cameras", one.cameras.length),
        ),
        h(
          "p",
          { class: "small soft" },
          one.first
            ? t("library.span", { first: time(one.first), last: time(one.last) })
            : t("format.no_time"),
        ),
      ),
    ),
    cameras.length > 0 &&
      h(
        "div",
        { class: "table-box" },
        h(
          "table",
          {},
          h("caption", { class: "unseen" }, t("library.cameras_of", { name: here.name })),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, t("library.camera")),
              ["n_scenes", "n_people"]
                .filter((name) => name in cameras[0])
                .map((name) => h("th", { scope: "col", class: "number" }, t(`library.${name}`))),
            ),
          ),
          h(
            "tbody",
            {},
            cameras.map((/** @type {any} */ one) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, one.name || t("library.no_camera")),
                ["n_scenes", "n_people"]
                  .filter((name) => name in one)
                  .map((name) => h("td", { class: "number" }, Number(one[name]).toLocaleString())),
              ),
            ),
          ),
        ),
      ),
  );
}

/** @param {string} key @param {number} value */
const figure = (key, value) =>
  h("div", {}, h("dt", {}, t(key)), h("dd", {}, value.toLocaleString()));

async function showSkipped() {
  const left = await get(`/skipped?archive=${here.id}`);
  if (!left.length)
    return show(
      skipped.body,
      h("p", { class: "soft row" }, icon("yes"), t("library.none_skipped")),
    );
  show(
    skipped.tools,
    may("editor") &&
      button({ icon: "retry", text: t("library.retry"), class: "tight", onclick: retry }),
  );
  show(
    skipped.body,
    h(
      "div",
      { class: "table-box" },
      h(
        "table",
        {},
        h("caption", {}, t("library.n_skipped", { n: left.length })),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, t("library.file")),
            h("th", { scope: "col" }, t("library.reason")),
          ),
        ),
        h(
          "tbody",
          {},
          left.map((/** @type {any} */ one) =>
            h(
              "tr",
              {},
              h("td", { class: "long" }, one.file),
              h("td", { class: "long" }, sentence(one.reason)),
            ),
          ),
        ),
      ),
    ),
  );
}

async function retry() {
  try {
    await post(`/skipped/retry?archive=${here.id}`, {});
    await showJobs();
    note(t("library.retrying"));
  } catch (error) {
    complain(error);
  }
}

async function showJobs() {
  const jobs = await get("/jobs");
  if (!jobs.length) return show(running.body, nothing("library", "library.no_jobs"));
  show(running.body, h("ul", { class: "job-list" }, jobs.map(jobEntry)));
}

/** @param {any} job */
function jobEntry(job) {
  const element = h("li", { class: "job" });
  drawJob(element, job);
  if (!isOver(job)) follow(element, job);
  return element;
}

/** @param {any} job */
const isOver = (job) => job.state !== "running";

/** Draw how a job goes. @param {HTMLElement} element @param {any} job */
function drawJob(element, job) {
  const done = isOver(job);
  const cancel =
    !done &&
    may("editor") &&
    button({
      text: t("cancel"),
      class: "tight",
      onclick: () => remove(`/jobs/${job.id}`).then(showJobs, complain),
    });
  const figures = t("library.progress", {
    done: job.done ?? 0,
    total: job.total ?? 0,
    people: job.people ?? 0,
    skipped: job.skipped ?? 0,
  });
  const left =
    !done && job.eta_s !== null && job.eta_s !== undefined
      ? t("library.eta", { n: Math.ceil(job.eta_s) })
      : "";
  show(
    element,
    h(
      "div",
      { class: "row" },
      h("strong", {}, job.folder || job.id),
      h(
        "span",
        { class: `state ${job.state}` },
        done && icon(job.state === "done" ? "yes" : "warning"),
        t(`job.${job.state}`),
      ),
      h("span", { class: "push" }),
      cancel,
    ),
    h("progress", {
      class: "bar",
      max: job.total || 1,
      value: job.total ? job.done : done ? 1 : 0,
      "aria-label": figures,
    }),
    h("p", { class: "small soft number" }, [figures, left].filter(Boolean).join(" · ")),
    job.message && h("p", { class: "small" }, sentence(job.message)),
  );
}

/** Follow a job while it runs. @param {HTMLElement} element @param {any} job */
function follow(element, job) {
  const events = new EventSource(eventsOf(job.id));
  const told = (/** @type {MessageEvent} */ event) => {
    Object.assign(job, JSON.parse(event.data));
    drawJob(element, job);
    if (!isOver(job)) return;
    events.close();
    showSkipped().catch(complain);
  };
  for (const name of ["progress", "end"]) events.addEventListener(name, told);
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) return;
    events.close();
    get(`/jobs/${job.id}`).then(
      (now) => (
        Object.assign(job, now),
        drawJob(element, job),
        !isOver(job) && setTimeout(() => follow(element, job), 2000)
      ),
      complain,
    );
  });
}

async function newJob() {
  try {
    const roots = await get("/roots");
    if (!roots.length) return note(t("library.no_roots"), { more: t("library.no_roots_hint") });
    ask(roots);
  } catch (error) {
    complain(error);
  }
}

/** @param {any[]} roots */
function ask(roots) {
  const places = roots.flatMap((root) => [
    { root: root.id, folder: "", name: root.name },
    ...(root.folders ?? []).map((/** @type {any} */ folder) => ({
      root: root.id,
      folder: folder.id,
      name: `${root.name} / ${folder.name}`,
    })),
  ]);
  const place = h(
    "select",
    { class: "input", name: "place" },
    places.map((one, at) => h("option", { value: at }, one.name)),
  );
  const which = ["missing", "all"].map((value, at) =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name: "which", value, checked: at === 0 }),
      h(
        "span",
        {},
        t(`library.${value}`),
        h("br"),
        h("span", { class: "small soft" }, t(`library.${value}_hint`)),
      ),
    ),
  );
  const every = h("input", {
    class: "input",
    name: "every",
    placeholder: "0.5s",
    pattern: "[0-9.]+(s|ms|f)|keyframes",
  });
  const camera = h("input", { class: "input", name: "camera", maxlength: 200 });
  formDialog(
    t("library.add"),
    [
      field(t("library.where"), place, t("library.where_hint")),
      h(
        "fieldset",
        { class: "stack-tight" },
        h("legend", { class: "label" }, t("library.which")),
        which,
      ),
      field(t("library.every"), every, t("library.every_hint")),
      field(t("library.camera_name"), camera, t("library.camera_hint")),
    ],
    {
      go: t("library.start"),
      submit: async (form) => {
        const chosen = places[Number(form.get("place"))];
        await post("/jobs", {
          archive: here.id,
          root: chosen.root,
          ...(chosen.folder && { folder: chosen.folder }),
          ...(form.get("which") === "all" && { again: true }),
          ...(form.get("every") && { every: form.get("every") }),
          ...(form.get("camera") && { camera: form.get("camera") }),
        });
        await showJobs();
      },
    },
  );
}

const sources = panel("sources");
const running = panel("jobs");
const skipped = panel("skipped");
byId("new-job")?.addEventListener("click", newJob);
await Promise.all([
  filled(sources, showSources),
  filled(running, showJobs),
  filled(skipped, showSkipped),
]);
show(byId("library"), sources.panel, running.panel, skipped.panel);
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
