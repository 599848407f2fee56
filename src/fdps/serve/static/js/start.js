// @ts-check
/** The beginning of a search: a picture that is dropped, pasted or picked, or a scene of the archive. */
import { get } from "./api.js";
import { archive } from "./archive.js";
import { button, byId, h, show } from "./dom.js";
import { t } from "./messages.js";
import { failed, nothing } from "./notes.js";
import { tile } from "./scenes.js";

const SCENES = 24;

/**
 * Take pictures from everywhere a browser can bring one from.
 * @param {(file: File) => void} onpicture
 */
export function takePictures(onpicture) {
  const file = byId("file");
  byId("pick").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) onpicture(file.files[0]);
    file.value = "";
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].find((one) =>
      one.type.startsWith("image/"),
    );
    if (pasted) onpicture(pasted);
  });
  // Entering a child leaves its parent: only the depth tells whether the picture is still over the page.
  let depth = 0;
  const over = (/** @type {number} */ by) => {
    depth = Math.max(0, depth + by);
    document.body.classList.toggle("dropping", depth > 0);
  };
  const isFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => isFile(event) && over(1));
  addEventListener("dragleave", (event) => isFile(event) && over(-1));
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const dropped = event.dataTransfer?.files[0];
    if (dropped) onpicture(dropped);
  });
}

/** Show scenes of the archive to begin from. */
export async function showScenes() {
  const now = await archive();
  if (!now) return;
  if (now.cameras.length > 1) {
    const camera = h(
      "select",
      {
        class: "input",
        "aria-label": t("start.camera"),
        onchange: () => load(now.id, camera.value),
      },
      h("option", { value: "" }, t("start.all_cameras")),
      now.cameras.map((name) => h("option", {}, name)),
    );
    show(byId("scene-camera"), camera);
  }
  await load(now.id, "");
}

/**
 * Show scenes: first some with somebody in them from all of the time, because neighbours in a video
 * look alike; who asks for all gets them in order.
 * @param {string} id @param {string} camera @param {any[] | null} [before] in order, shown already
 */
async function load(id, camera, before = null) {
  const list = byId("scene-list");
  const asked = new URLSearchParams({
    archive: id,
    limit: String(SCENES),
    ...(before ? { offset: String(before.length) } : { spread: "true" }),
    ...(camera && { camera }),
  });
  try {
    const { total, scenes } = await get(`/scenes?${asked}`);
    if (!before && !scenes.length) return load(id, camera, []); // nobody was found anywhere
    const all = [...(before ?? []), ...scenes];
    if (!all.length)
      show(
        list,
        h(
          "li",
          { class: "whole" },
          nothing(
            "library",
            "start.none",
            h("a", { class: "button", href: "/library" }, t("nav.library")),
          ),
        ),
      );
    else if (before?.length)
      list.append(...scenes.map((/** @type {any} */ scene) => h("li", {}, tile(scene, id))));
    else
      show(
        list,
        scenes.map((/** @type {any} */ scene) => h("li", {}, tile(scene, id))),
      );
    show(
      byId("scene-more"),
      all.length < total &&
        button({
          text: before ? t("more", { n: total - all.length }) : t("start.in_order"),
          onclick: () => load(id, camera, before ? all : []),
        }),
    );
  } catch (error) {
    show(
      list,
      h(
        "li",
        { class: "whole" },
        failed(error, () => load(id, camera, before)),
      ),
    );
  }
}
