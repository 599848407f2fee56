// @ts-check
/** Choose a person in a picture: click a box, or draw one by mouse, finger or keys. */
import { button, h, show } from "./dom.js";
import { t } from "./messages.js";
import { place } from "./pictures.js";

/** @typedef {import("./pictures.js").Box} Box */
/** @typedef {import("./pictures.js").Size} Size */
/** @typedef {{n: number, box: Box, score: number, label?: string}} Person */

const DRAG_PX = 6;
const STEP = 0.01; // of the picture, for one press of an arrow key

/**
 * A picture in which one can choose.
 * @param {{picture: Element, size: Size, people: Person[], onperson: (n: number) => void, onbox?: (box: Box) => void, pressed?: number}} options
 */
export function chooser({ picture, size, people, onperson, onbox, pressed }) {
  const board = h(
    "div",
    {
      class: "board",
      vars: {
        "--ratio": `${size.width} / ${size.height}`,
        "--width": `${size.width}`,
        "--height": `${size.height}`,
      },
    },
    picture,
  );
  // The smallest boxes come last, so that somebody in front of a larger box can be clicked.
  const area = (/** @type {Person} */ { box }) => (box[2] - box[0]) * (box[3] - box[1]);
  const drawnLast = new Map(
    [...people].sort((a, b) => area(b) - area(a)).map((one, order) => [one, order]),
  );
  for (const person of people) {
    const said =
      person.label ?? t("choose.person", { n: person.n, score: Math.round(100 * person.score) });
    board.append(
      h(
        "button",
        {
          type: "button",
          class: "person-box",
          title: said,
          "aria-label": said,
          "aria-pressed": pressed === undefined ? null : String(pressed === person.n),
          "data-n": person.n,
          vars: { ...place(size, person.box), "--order": drawnLast.get(person) ?? 0 },
          onclick: () => onperson(person.n),
        },
        h("span", { class: "tag", "aria-hidden": "true" }, person.n),
      ),
    );
  }
  if (onbox) drawable(board, size, onbox);
  return board;
}

/** Let a box be dragged. @param {HTMLElement} board @param {Size} size @param {(box: Box) => void} onbox */
function drawable(board, size, onbox) {
  /** @type {{x: number, y: number} | null} */
  let from = null;
  /** @type {HTMLElement | null} */
  let drawn = null;
  const at = (/** @type {PointerEvent} */ event) => {
    const frame = board.getBoundingClientRect();
    const inside = (/** @type {number} */ share) => Math.min(1, Math.max(0, share));
    return {
      x: size.width * inside((event.clientX - frame.left) / frame.width),
      y: size.height * inside((event.clientY - frame.top) / frame.height),
    };
  };
  const boxTo = (/** @type {{x: number, y: number}} */ to) =>
    /** @type {Box} */ ([
      Math.min(from?.x ?? 0, to.x),
      Math.min(from?.y ?? 0, to.y),
      Math.max(from?.x ?? 0, to.x),
      Math.max(from?.y ?? 0, to.y),
    ]);
  board.classList.add("can-draw");
  board.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = at(event);
    const start = { x: event.clientX, y: event.clientY };
    const move = (/** @type {PointerEvent} */ moved) => {
      if (!drawn && Math.hypot(moved.clientX - start.x, moved.clientY - start.y) < DRAG_PX) return;
      if (!drawn) board.append((drawn = h("div", { class: "drawn-box" })));
      for (const [key, value] of Object.entries(place(size, boxTo(at(moved)))))
        drawn?.style.setProperty(key, value);
    };
    const up = (/** @type {PointerEvent} */ ended) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", up);
      if (!drawn) return;
      const box = boxTo(at(ended));
      drawn.remove();
      drawn = null;
      // The click that ends a drag over somebody's box does not mean that person.
      const stop = (/** @type {Event} */ click) => click.stopPropagation();
      addEventListener("click", stop, { capture: true, once: true });
      setTimeout(() => removeEventListener("click", stop, { capture: true }));
      if (ended.type === "pointerup" && box[2] - box[0] > 2 && box[3] - box[1] > 2) onbox(box);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", up);
  });
  board.addEventListener("dragstart", (event) => event.preventDefault());
}

/**
 * A box that is moved with the arrow keys, resized with Shift, and taken with Enter.
 * @param {HTMLElement} board
 * @param {Size} size
 * @param {(box: Box) => void} onbox
 */
export function boxByKeys(board, size, onbox) {
  board.querySelector(".drawn-box")?.remove();
  const box = { x: 0.4, y: 0.25, w: 0.15, h: 0.5 };
  const element = h("div", {
    class: "drawn-box",
    tabindex: "0",
    role: "application",
    "aria-label": t("choose.keys"),
  });
  const update = () => {
    const corners = /** @type {Box} */ ([
      box.x * size.width,
      box.y * size.height,
      (box.x + box.w) * size.width,
      (box.y + box.h) * size.height,
    ]);
    for (const [key, value] of Object.entries(place(size, corners)))
      element.style.setProperty(key, value);
    return corners;
  };
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    }[event.key];
    if (step) {
      const [dx, dy] = step;
      if (event.shiftKey) {
        box.w = Math.min(1 - box.x, Math.max(0.02, box.w + dx));
        box.h = Math.min(1 - box.y, Math.max(0.02, box.h + dy));
      } else {
        box.x = Math.min(1 - box.w, Math.max(0, box.x + dx));
        box.y = Math.min(1 - box.h, Math.max(0, box.y + dy));
      }
      update();
    } else if (event.key === "Enter") onbox(update());
    else if (event.key === "Escape") element.remove();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  update();
  board.append(element);
  element.focus();
}

/**
 * The section that shows a picture of the question while somebody chooses in it.
 * @param {HTMLElement} section
 * @param {{picture: Element, size: Size, people: Person[], waits?: boolean, onperson: (n: number) => void, onbox: (box: Box) => void, oncancel: () => void}} options
 */
export function showChooser(
  section,
  { picture, size, people, waits = false, onperson, onbox, oncancel },
) {
  const board = chooser({ picture, size, people, onperson, onbox: waits ? undefined : onbox });
  board.classList.toggle("waits", waits);
  const title = waits
    ? t("choose.looking")
    : people.length
      ? t("choose.found", { n: people.length })
      : t("choose.nobody");
  const lead = waits
    ? t("choose.wait")
    : people.length
      ? t("choose.lead")
      : t("choose.nobody_lead");
  const byKeys = button({
    icon: "crop",
    text: t("choose.by_keys"),
    disabled: waits,
    onclick: () => boxByKeys(board, size, onbox),
  });
  show(
    section,
    h(
      "header",
      { class: "choose-head" },
      h(
        "div",
        { class: "stack-tight", "aria-live": "polite" },
        h("h2", { id: "choose-title", tabindex: "-1" }, title),
        h("p", { class: "soft" }, lead),
      ),
      h(
        "div",
        { class: "row" },
        byKeys,
        button({ text: t("cancel"), class: "bare", onclick: oncancel }),
      ),
    ),
    h("div", { class: "board-frame" }, board),
  );
  section.hidden = false;
  if (!waits) section.querySelector("h2")?.focus();
  return board;
}
