// @ts-check
/** Addresses of scenes, and scenes as small pictures. */
import { h } from "./dom.js";
import { when } from "./format.js";
import { sized } from "./cards.js";
import { shot } from "./pictures.js";

const TILE_PX = 400;

/** The key of a scene in addresses: base64url of its name. @param {string} name */
export function keyOf(name) {
  const bytes = Array.from(new TextEncoder().encode(name), (byte) =>
    String.fromCharCode(byte),
  ).join("");
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The page of a scene. @param {string} name @param {string} archive @param {number} [item] somebody to mark */
export function scenePage(name, archive, item) {
  const parameters = new URLSearchParams({
    archive,
    ...(item !== undefined && { item: String(item) }),
  });
  return `/scene/${keyOf(name)}?${parameters}`;
}

/** The address of the picture of a scene. @param {string} name @param {string} archive */
export const scenePicture = (name, archive) =>
  `/api/v1/scenes/${keyOf(name)}/picture?archive=${encodeURIComponent(archive)}`;

/**
 * A scene as a link with its picture.
 * @param {any} scene
 * @param {string} archive
 * @param {Record<string, any>} [attributes]
 */
export function tile(scene, archive, attributes = {}) {
  return h(
    "a",
    { class: "tile", href: scenePage(scene.name, archive), title: scene.path_name, ...attributes },
    shot({ src: sized(scenePicture(scene.name, archive), TILE_PX), size: scene, alt: "" }),
    h(
      "span",
      { class: "tile-words small" },
      h("span", {}, scene.camera ?? scene.path_name),
      h("span", { class: "soft" }, when(scene)),
    ),
  );
}

/** The page that erases people. @param {string} archiveId @param {number[]} items */
export const forgetPage = (archiveId, items) =>
  `/privacy?${new URLSearchParams({ archive: archiveId, items: items.join(",") })}#forget-panel`;
