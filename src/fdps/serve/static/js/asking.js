// @ts-check
/** The way from a picture to a selection: upload, people, choice. */
import { post, remove } from "./api.js";
import { archive } from "./archive.js";
import { showChooser } from "./choose.js";
import { byId, h } from "./dom.js";
import { complain } from "./notes.js";
import { rememberOrigin } from "./question.js";

/** @typedef {import("./pictures.js").Box} Box */

const PREVIEW_PX = 1600;

/**
 * Let somebody choose a person in a picture.
 * @param {File} file
 * @returns {Promise<string | null>} the selection, or nothing if it was called off
 */
export async function askIn(file) {
  const preview = await previewOf(file);
  const waiting = new AbortController();
  return new Promise((done, fail) => {
    const cancel = () => (waiting.abort(), done(null));
    if (preview)
      showChooser(byId("choose"), {
        picture: preview,
        size: preview,
        people: [],
        waits: true,
        onperson() {},
        onbox() {},
        oncancel: cancel,
      });
    uploaded(file, waiting.signal).then(
      (query) => choose(query, preview, done),
      (error) => (waiting.signal.aborted ? done(null) : fail(error)),
    );
  });
}

/** @param {File} file @param {AbortSignal} signal */
async function uploaded(file, signal) {
  const form = new FormData();
  form.append("picture", file);
  form.append("archive", (await archive()).id);
  return post("/queries", form, { signal });
}

/** @param {any} query @param {HTMLCanvasElement | null} preview @param {(selection: string | null) => void} done */
function choose(query, preview, done) {
  const picture =
    preview ?? h("img", { src: query.picture, alt: "", width: query.width, height: query.height });
  const select = async (/** @type {any} */ body) => {
    try {
      const { selection, box } = await post(`/queries/${query.id}/select`, body);
      rememberOrigin(selection, {
        picture: query.picture,
        width: query.width,
        height: query.height,
        box,
        query: query.id,
      });
      done(selection);
    } catch (error) {
      complain(error);
    }
  };
  showChooser(byId("choose"), {
    picture,
    size: query,
    people: query.people,
    onperson: (n) => select({ person: n }),
    onbox: (box) => select({ box }),
    oncancel: () => (remove(`/queries/${query.id}`).catch(() => {}), done(null)),
  });
}

/** Draw the picture at once; the server decodes some that a browser cannot. @param {File} file */
async function previewOf(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, PREVIEW_PX / Math.max(bitmap.width, bitmap.height));
    const canvas = h("canvas", {
      width: Math.round(bitmap.width * scale),
      height: Math.round(bitmap.height * scale),
      "aria-hidden": "true",
    });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas;
  } catch {
    return null;
  }
}
