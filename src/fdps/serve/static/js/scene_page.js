// @ts-check
/** The page of a scene: everybody boxed, neighbours in time, and a preview of the blur. */
import { get } from "./api.js";
import { archive } from "./archive.js";
import { sized } from "./cards.js";
import { chooser } from "./choose.js";
import { button, byId, h, icon, show } from "./dom.js";
import { when } from "./format.js";
import { listen } from "./keys.js";
import { t } from "./messages.js";
import { failed } from "./notes.js";
import { may } from "./role.js";
import { forgetPage, scenePicture, tile } from "./scenes.js";
import { cropOf } from "./tray.js";

const PICTURE_PX = 1920;

const key = byId("scene").dataset.key;
const asked = new URLSearchParams(location.search).get("item");
/** @type {number | null} */
let chosen = asked === null ? null : Number(asked);
let isBlurred = false;
/** @type {any} */
let seen = null;
const here = await archive();

async function load() {
  seen = await get(`/scenes/${key}?archive=${here.id}`);
  const { scene, people } = seen;
  const title = h("h1", {}, [scene.camera, when(scene)].filter(Boolean).join(" · "));
  const facts = h(
    "p",
    { class: "soft" },
    `${scene.path_name} · ${scene.width} × ${scene.height} · ${t("scene.n_people", { n: people.length })}`,
  );
  const around = h(
    "section",
    { class: "stack-tight", "aria-labelledby": "around-title" },
    h("h2", { id: "around-title" }, t("scene.around")),
    h("ul", { class: "strip", id: "around" }),
  );
  show(
    byId("scene"),
    h("header", { class: "page-head" }, h("div", { class: "stack-tight" }, title, facts)),
    h(
      "div",
      { class: "scene-layout" },
      h("div", { id: "scene-picture", class: "scene-picture" }),
      h("aside", { class: "panel stack", id: "scene-people", "aria-label": t("scene.people") }),
    ),
    around,
  );
  document.title = `${scene.path_name} · fdps`;
  if (!people.some((/** @type {any} */ one) => one.item === chosen)) chosen = null;
  showPicture();
  showPeople();
  showAround();
}

function showPicture() {
  const { scene, people } = seen;
  const blur = isBlurred
    ? `&blur=${chosen === null ? people.map((/** @type {any} */ one) => one.item).join(",") : `others-of:${chosen}`}`
    : "";
  const picture = h("img", {
    src: sized(scenePicture(scene.name, here.id) + blur, PICTURE_PX),
    width: scene.width,
    height: scene.height,
    alt: t("scene.alt", { n: people.length }),
  });
  const boxes = people.map((/** @type {any} */ one, /** @type {number} */ n) => ({
    ...one,
    n: n + 1,
    label: t("scene.person", { n: n + 1, score: Math.round(100 * one.score) }),
  }));
  const board = chooser({
    picture,
    size: scene,
    people: boxes,
    pressed: 1 + people.findIndex((/** @type {any} */ one) => one.item === chosen),
    onperson: (n) => choose(people[n - 1].item),
  });
  const place = byId("scene-picture");
  show(place, h("div", { class: "board-frame" }, board));
}

function showPeople() {
  const blur = button({
    icon: "blur",
    text: t("scene.blur"),
    "aria-pressed": String(isBlurred),
    "aria-describedby": "blur-hint",
    onclick: toggleBlur,
  });
  const one = (/** @type {any} */ person, /** @type {number} */ n) =>
    h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "person-row",
          "aria-pressed": String(person.item === chosen),
          onclick: () => choose(person.item),
        },
        h("img", { src: cropOf(person.item, here.id), alt: "" }),
        h("span", {}, t("scene.number", { n: n + 1 })),
        h(
          "span",
          { class: "small soft" },
          t("scene.score", { score: Math.round(100 * person.score) }),
        ),
      ),
    );
  const act =
    chosen !== null &&
    h(
      "div",
      { class: "stack-tight" },
      h(
        "a",
        {
          class: "button main",
          href: `/?${new URLSearchParams({ archive: here.id, like: `item:${chosen}` })}`,
        },
        icon("search"),
        t("scene.search"),
      ),
      may("admin") &&
        h(
          "a",
          {
            class: "button",
            href: forgetPage(here.id, [chosen]),
          },
          icon("trash"),
          t("card.forget"),
        ),
    );
  show(
    byId("scene-people"),
    h("h2", {}, t("scene.people")),
    seen.people.length
      ? h("ul", { class: "person-list" }, seen.people.map(one))
      : h("p", { class: "soft" }, t("scene.nobody")),
    act || (seen.people.length > 0 && h("p", { class: "small soft" }, t("scene.choose"))),
    h(
      "div",
      { class: "stack-tight" },
      blur,
      h("p", { class: "small soft", id: "blur-hint" }, t("scene.blur_hint")),
    ),
  );
}

/** @param {number} item */
function choose(item) {
  chosen = chosen === item ? null : item;
  showPicture();
  showPeople();
  const at = 1 + seen.people.findIndex((/** @type {any} */ one) => one.item === item);
  /** @type {HTMLElement | null} */ (
    document.querySelector(`#scene-picture [data-n="${at}"]`)
  )?.focus();
}

function toggleBlur() {
  isBlurred = !isBlurred;
  showPicture();
  showPeople();
  /** @type {HTMLElement | null} */ (
    document.querySelector("#scene-people [aria-describedby=blur-hint]")
  )?.focus();
}

function showAround() {
  const { scene, before, after } = seen;
  const now = h("li", {}, tile(scene, here.id, { "aria-current": "true" }));
  const all = [
    ...before.map((/** @type {any} */ one) => h("li", {}, tile(one, here.id))),
    now,
    ...after.map((/** @type {any} */ one) => h("li", {}, tile(one, here.id))),
  ];
  const strip = byId("around");
  show(strip, all);
  strip.scrollLeft = now.offsetLeft - strip.clientWidth / 2 + now.offsetWidth / 2;
}

/** @param {number} step */
function move(step) {
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll("#around a")]);
  const now = links.findIndex((link) => link.getAttribute("aria-current"));
  links[now + step]?.click();
}

listen(
  { key: "ArrowLeft", shown: "←", text: "keys.scene_before", run: () => move(-1) },
  { key: "ArrowRight", shown: "→", text: "keys.scene_after", run: () => move(1) },
  { key: "b", text: "keys.blur", run: toggleBlur },
  {
    key: "s",
    text: "keys.scene_search",
    run: () =>
      /** @type {HTMLElement | null} */ (document.querySelector("#scene-people a.main"))?.click(),
  },
);
load().catch((error) =>
  show(
    byId("scene"),
    failed(error, () => location.reload()),
  ),
);
