// @ts-check
/** The purpose of what is done: asked once a session where the archive wants one. */
import { archive } from "./archive.js";
import { formDialog } from "./dialogs.js";
import { field, h } from "./dom.js";
import { t } from "./messages.js";

const KEY = "fdps-purpose";

/** The purpose that was given in this session, or nothing. */
export const givenPurpose = () => sessionStorage.getItem(KEY) ?? "";

/** @param {string} text */
export const givePurpose = (text) => sessionStorage.setItem(KEY, text);

/**
 * Return the purpose; ask for it first where one is required and none was given.
 * @returns {Promise<string>}
 */
export async function purpose() {
  const { purpose_required: required } = await archive();
  if (givenPurpose() || !required) return givenPurpose();
  return new Promise((done) => {
    const input = h("input", {
      class: "input",
      name: "purpose",
      required: true,
      maxlength: 500,
      autofocus: true,
    });
    formDialog(
      t("purpose.title"),
      [h("p", {}, t("purpose.why")), field(t("purpose.label"), input)],
      {
        go: t("purpose.go"),
        submit: async (form) => {
          givePurpose(String(form.get("purpose")));
          done(givenPurpose());
        },
      },
    );
  });
}
