// @ts-check
/** The archive that the page is about: `?archive=`, or the first that the server has. */
import { get } from "./api.js";

/**
 * @typedef {{id: string, name: string, n_people: number, n_scenes: number, cameras: string[], first: string | null, last: string | null, model: string, calibrated: boolean, levels: {strong: number, worth_a_look: number} | null, purpose_required: boolean}} Archive
 */

/** @type {Promise<Archive[]> | undefined} */
let asked;

/** All archives of the server; they are asked for once a page. @param {{anew?: boolean}} [options] `anew`: ask again, something was erased */
export function archives({ anew = false } = {}) {
  if (anew) asked = undefined;
  asked ??= get("/archives");
  return asked;
}

/** @returns {Promise<Archive>} */
export async function archive() {
  const all = await archives();
  const wanted = new URLSearchParams(location.search).get("archive");
  return all.find((one) => one.id === wanted) ?? all[0];
}
