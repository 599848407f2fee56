// @ts-check
/** Candidates as cards: a scene with the person boxed, or the person alone. */
import { button, h } from "./dom.js";
import { levelBadge, levelWord, similarity, time, when } from "./format.js";
import { t } from "./messages.js";
import { shot } from "./pictures.js";

/**
 * @typedef {{rank: number, item: number, similarity: number, level: string | null, box: import("./pictures.js").Box, score: number,
 *   scene: {key?: string, name: string, width: number, height: number, camera: string | null, time: string | null, offset_s: number | null, path_name: string},
 *   crop: string, picture: string, appearance: {n: number, first: any, last: any, items: number[]} | null}} Hit
 */
/** @typedef {{look: (hit: Hit) => void, judge?: (hit: Hit, verdict: "confirmed" | "rejected") => void, more?: (hit: Hit, at: {x: number, y: number}) => void}} Actions what can be done with a card */

const SCENE_PX = 480;
const FIRST = 24; // cards that are painted before the rest is made

/** The address of the scene in a smaller size. @param {string} picture @param {number} width */
export const sized = (picture, width) =>
  `${picture}${picture.includes("?") ? "&" : "?"}width=${width}`;

/** What a card is, in words. @param {Hit} hit */
export function words(hit) {
  const level = hit.level ? levelWord(hit.level) : t("level.none");
  return t("card.words", {
    rank: hit.rank,
    level,
    similarity: similarity(hit.similarity),
    camera: hit.scene.camera ?? t("card.no_camera"),
    when: when(hit.scene),
  });
}

/**
 * @param {Hit} hit
 * @param {"scenes" | "crops"} view
 * @param {Actions} actions
 */
export function card(hit, view, actions) {
  const look = h(
    "button",
    {
      type: "button",
      class: "look",
      "aria-label": t("card.look", { words: words(hit) }),
      onclick: () => actions.look(hit),
    },
    picture(hit, view),
  );
  const element = h(
    "li",
    { class: "card", "data-item": hit.item },
    look,
    h(
      "div",
      { class: "card-words" },
      levelBadge(hit.level, hit.similarity),
      h("p", { class: "small card-when" }, seen(hit)),
      h(
        "p",
        { class: "small soft card-where" },
        [hit.scene.camera, hit.scene.path_name].filter(Boolean).join(" · "),
      ),
    ),
    (actions.judge || actions.more) && h("div", { class: "card-tools" }, tools(hit, actions)),
  );
  element.addEventListener("contextmenu", (/** @type {MouseEvent} */ event) => {
    if (!actions.more) return;
    event.preventDefault();
    actions.more(hit, { x: event.clientX, y: event.clientY });
  });
  return element;
}

/** @param {Hit} hit @param {Actions} actions */
function tools(hit, { judge, more }) {
  const below = (/** @type {Element} */ element) => {
    const { left, bottom } = element.getBoundingClientRect();
    return { x: left, y: bottom + 4 };
  };
  return [
    judge &&
      button({
        icon: "yes",
        title: t("verdict.confirm"),
        class: "tight yes",
        "aria-keyshortcuts": "y",
        onclick: () => judge(hit, "confirmed"),
      }),
    judge &&
      button({
        icon: "no",
        title: t("verdict.reject"),
        class: "tight no",
        "aria-keyshortcuts": "n",
        onclick: () => judge(hit, "rejected"),
      }),
    more &&
      button({
        icon: "more",
        title: t("card.more"),
        class: "bare tight",
        "aria-haspopup": "menu",
        onclick: (/** @type {Event} */ event) =>
          more(hit, below(/** @type {Element} */ (event.currentTarget))),
      }),
  ];
}

/** @param {Hit} hit @param {"scenes" | "crops"} view */
function picture(hit, view) {
  if (view === "scenes")
    return shot({ src: sized(hit.picture, SCENE_PX), size: hit.scene, box: hit.box, alt: "" });
  const [x1, y1, x2, y2] = hit.box;
  return shot({
    src: hit.crop,
    size: { width: Math.round(x2 - x1), height: Math.round(y2 - y1) },
    alt: "",
  });
}

/** When somebody was seen, once or for a while. @param {Hit} hit */
export function seen(hit) {
  if (!hit.appearance || hit.appearance.n < 2) return when(hit.scene);
  const { n, first, last } = hit.appearance;
  const at = (/** @type {any} */ one) =>
    typeof one === "string" ? time(one, { seconds: true }) : one ? when(one) : t("format.no_time");
  return t("card.appearance", { n, first: at(first), last: at(last) });
}

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));

/** The grid of cards, which keeps its elements while the order changes. */
export class Cards {
  /** @param {HTMLElement} list @param {Actions} actions */
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    /** @type {Hit[]} */
    this.hits = [];
    /** @type {Map<string, HTMLElement>} */
    this.made = new Map();
    /** @type {number | null} item of the card that keys act on */
    this.current = null;
    this.turn = 0;
    list.addEventListener("focusin", (event) => {
      const at = /** @type {HTMLElement} */ (event.target).closest(".card");
      if (at instanceof HTMLElement) this.mark(Number(at.dataset.item));
    });
  }

  /**
   * Show the first candidates at once, and the rest after these were painted.
   * @param {Hit[]} hits
   * @param {"scenes" | "crops"} view
   * @returns {Promise<void>} kept when all of them are there
   */
  async show(hits, view) {
    const before = this.hits.findIndex((hit) => hit.item === this.current);
    const hadFocus = this.list.contains(document.activeElement);
    this.hits = hits;
    this.list.dataset.view = view;
    /** @type {Map<string, HTMLElement>} */
    const kept = new Map();
    const made = (/** @type {Hit} */ hit) => {
      const id = [hit.item, view, hit.level, hit.similarity.toFixed(3), hit.appearance?.n].join();
      const old = this.made.get(id);
      const element = old ?? card(hit, view, this.actions);
      if (old)
        old
          .querySelector(".look")
          ?.setAttribute("aria-label", t("card.look", { words: words(hit) }));
      kept.set(id, element);
      return element;
    };
    const turn = ++this.turn;
    const now = hits.findIndex((hit) => hit.item === this.current);
    const nFirst = Math.max(FIRST, now + FIRST / 2);
    const first = hits.slice(0, nFirst).map(made);
    // The old rest stays for a moment, so that the page keeps its height and its place.
    const firsts = new Set(first);
    const rest = [...this.list.children].filter((one) => !firsts.has(/** @type {any} */ (one)));
    this.list.replaceChildren(...first, ...rest.slice(0, Math.max(0, hits.length - nFirst)));
    if (!hits.some((hit) => hit.item === this.current)) this.current = null;
    if (hadFocus && !this.list.contains(document.activeElement))
      this.focus(Math.max(0, Math.min(before, hits.length - 1)));
    if (hits.length > nFirst) {
      await nextFrame();
      await nextFrame();
      if (turn !== this.turn) return;
      while (this.list.children.length > nFirst) this.list.lastElementChild?.remove();
      this.list.append(...hits.slice(nFirst).map(made));
    }
    this.made = kept;
  }

  /** @param {number} item */
  mark(item) {
    this.current = item;
    for (const element of this.list.children)
      element.classList.toggle(
        "current",
        /** @type {HTMLElement} */ (element).dataset.item === String(item),
      );
  }

  /** Focus a card by its place. @param {number} place */
  focus(place) {
    const element = this.list.children[place];
    /** @type {HTMLElement | null} */ (element?.querySelector(".look"))?.focus();
    element?.scrollIntoView({ block: "nearest" });
  }

  /** Focus the next card, or the one before. @param {number} step */
  move(step) {
    const now = this.hits.findIndex((hit) => hit.item === this.current);
    this.focus(now < 0 ? 0 : Math.max(0, Math.min(this.hits.length - 1, now + step)));
  }

  /** The hit that keys act on. */
  get hit() {
    return this.hits.find((hit) => hit.item === this.current) ?? null;
  }
}
