// @ts-check
/** Keep what was found: begin a case, write a verdict to it, export it. */
import { download, post, put } from "./api.js";
import { archive } from "./archive.js";
import { formDialog } from "./dialogs.js";
import { field, h } from "./dom.js";
import { t } from "./messages.js";
import { note } from "./notes.js";
import { givePurpose, givenPurpose } from "./purpose.js";

const FORMATS = ["zip", "csv", "json", "coco", "mot"];

/**
 * Ask for a name and a purpose, and begin a case with what is known.
 * @param {{like?: string[], confirmed?: number[], rejected?: number[]}} [begun]
 * @returns {Promise<any>} the case, as soon as there is one
 */
export function newCase({ like = [], confirmed = [], rejected = [] } = {}) {
  return new Promise((done) => {
    const name = h("input", {
      class: "input",
      name: "name",
      required: true,
      maxlength: 200,
      autofocus: true,
    });
    const why = h("input", {
      class: "input",
      name: "purpose",
      required: true,
      maxlength: 500,
      value: givenPurpose(),
    });
    formDialog(
      t("case.new_title"),
      [field(t("case.name"), name), field(t("case.purpose"), why, t("case.purpose_hint"))],
      {
        go: t("case.begin"),
        submit: async (form) => {
          const asked = {
            name: form.get("name"),
            purpose: form.get("purpose"),
            archive: (await archive()).id,
            like,
          };
          givePurpose(String(asked.purpose));
          let made = await post("/cases", asked);
          for (const item of confirmed)
            made = await writeVerdict(made.id, item, "confirmed", made.version);
          for (const item of rejected)
            made = await writeVerdict(made.id, item, "rejected", made.version);
          done(made);
        },
      },
    );
  });
}

/**
 * Write a verdict; the answer comes when it is on disk.
 * @param {string} id
 * @param {number} item
 * @param {"confirmed" | "rejected" | null} verdict
 * @param {number} [version] that was seen; another in between is refused
 */
export function writeVerdict(id, item, verdict, version) {
  return put(
    `/cases/${id}/verdicts`,
    { item, verdict },
    { headers: version === undefined ? {} : { "If-Match": String(version) } },
  );
}

/** Ask how to export a case, and save the file. @param {string} id */
export function exportCase(id) {
  const formats = FORMATS.map((format, at) =>
    h(
      "label",
      { class: "choice" },
      h("input", {
        type: "radio",
        name: "format",
        value: format,
        checked: at === 0,
        autofocus: at === 0,
      }),
      h(
        "span",
        {},
        t(`export.${format}`),
        h("br"),
        h("span", { class: "small soft" }, t(`export.${format}_hint`)),
      ),
    ),
  );
  const others = ["blur", "keep"].map((value, at) =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name: "bystanders", value, checked: at === 0 }),
      t(`export.${value}`),
    ),
  );
  formDialog(
    t("export.title"),
    [
      h(
        "fieldset",
        { class: "stack-tight" },
        h("legend", { class: "label" }, t("export.format")),
        formats,
      ),
      h(
        "fieldset",
        { class: "stack-tight" },
        h("legend", { class: "label" }, t("export.bystanders")),
        others,
      ),
      h("p", { class: "hint-box" }, t("export.note")),
    ],
    {
      go: t("export.go"),
      sign: "download",
      submit: async (form) => {
        const name = await download(`/cases/${id}/export`, {
          format: form.get("format"),
          bystanders: form.get("bystanders"),
        });
        note(t("export.done", { name }));
      },
    },
  );
}
