// @ts-check
/** What the user may do. The server refuses everything else; pages do not offer it either. */

const ROLES = ["viewer", "editor", "admin"];

/** @typedef {"editor" | "admin"} Role least role for a control */

/** @param {Role} least */
export function may(least) {
  const shell = /** @type {HTMLElement | null} */ (document.querySelector(".shell"));
  return ROLES.indexOf(shell?.dataset.role ?? "") >= ROLES.indexOf(least);
}
