// @ts-check
/** A closer look: the person beside those looked for, and the whole scene. */
import { sized, seen, words } from "./cards.js";
import { dialog } from "./dialogs.js";
import { button, h, show } from "./dom.js";
import { levelBadge } from "./format.js";
import { t } from "./messages.js";
import { shot } from "./pictures.js";

/** @typedef {import("./cards.js").Hit} Hit */

const SCENE_PX = 1600;

/**
 * @param {Hit} hit
 * @param {{wanted: () => (Element | null)[], neighbour: (hit: Hit, step: number) => Hit | null, judge?: (hit: Hit, verdict: "confirmed" | "rejected") => Promise<void>, similar: (hit: Hit) => void, sceneOf: (hit: Hit) => string}} actions
 */
export function look(hit, { wanted, neighbour, judge, similar, sceneOf }) {
  let now = hit;
  const body = h("div", { class: "look-body" });
  const draw = () => {
    const [x1, y1, x2, y2] = now.box;
    const verdicts = judge && [
      button({
        icon: "yes",
        text: t("verdict.confirm"),
        class: "yes",
        onclick: () => decide("confirmed"),
      }),
      button({
        icon: "no",
        text: t("verdict.reject"),
        class: "no",
        onclick: () => decide("rejected"),
      }),
    ];
    show(
      body,
      h(
        "div",
        { class: "look-scene" },
        shot({
          src: sized(now.picture, SCENE_PX),
          size: now.scene,
          box: now.box,
          alt: words(now),
          lazy: false,
        }),
      ),
      h(
        "div",
        { class: "look-side stack" },
        h(
          "div",
          { class: "look-pair" },
          h("figure", {}, ...wanted(), h("figcaption", { class: "small soft" }, t("look.wanted"))),
          h(
            "figure",
            {},
            shot({
              src: now.crop,
              size: { width: Math.round(x2 - x1), height: Math.round(y2 - y1) },
              alt: t("look.candidate_alt"),
              lazy: false,
            }),
            h("figcaption", { class: "small soft" }, t("look.candidate")),
          ),
        ),
        h(
          "div",
          { class: "stack-tight" },
          levelBadge(now.level, now.similarity),
          h("p", {}, seen(now)),
          h(
            "p",
            { class: "soft small" },
            [now.scene.camera, now.scene.path_name].filter(Boolean).join(" · "),
          ),
        ),
        h("p", { class: "hint-box" }, t("look.caution")),
        h(
          "div",
          { class: "row" },
          verdicts,
          button({
            icon: "similar",
            text: t("card.similar"),
            onclick: () => (box.close(), similar(now)),
          }),
          h("a", { class: "button", href: sceneOf(now) }, t("card.scene")),
        ),
        h(
          "div",
          { class: "row" },
          button({ icon: "left", title: t("look.before"), onclick: () => step(-1) }),
          button({ icon: "right", title: t("look.after"), onclick: () => step(1) }),
          h("span", { class: "small soft key-hint" }, t("look.keys")),
        ),
      ),
    );
  };
  const step = (/** @type {number} */ by) => {
    const next = neighbour(now, by);
    if (next) {
      now = next;
      draw();
    }
  };
  const decide = async (/** @type {"confirmed" | "rejected"} */ verdict) => {
    if (!judge) return;
    const judged = now;
    const next = neighbour(judged, 1) ?? neighbour(judged, -1);
    if (next) {
      now = next;
      draw();
    } else box.close();
    await judge(judged, verdict);
  };
  const box = dialog(t("look.title"), () => [body], { class: "look-dialog" });
  draw();
  /** @type {Record<string, () => any>} */
  const keys = {
    j: () => step(1),
    ArrowRight: () => step(1),
    k: () => step(-1),
    ArrowLeft: () => step(-1),
    y: () => decide("confirmed"),
    n: () => decide("rejected"),
    s: () => (box.close(), similar(now)),
  };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !(/** @type {HTMLElement} */ (event.target).closest("button, a")))
      box.close();
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
  });
  body.tabIndex = -1;
  body.focus({ preventScroll: true });
}
