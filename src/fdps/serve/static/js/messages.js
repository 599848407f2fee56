// @ts-check
/** Texts from the one catalogue that templates and scripts share. */

const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);

/** @type {Record<string, string | Record<string, string>>} */
const catalogue = await (await fetch(`/static/messages.${language}.json`)).json();

/**
 * Return a text with values in place of `{name}`. A text with several forms takes that of `n`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const found = catalogue[key];
  if (found === undefined) throw new Error(`the catalogue has no text ${key}`);
  const form =
    typeof found === "string" ? found : (found[plural.select(Number(values.n))] ?? found.other);
  return form.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

/**
 * Whether the catalogue has a text.
 * @param {string} key
 */
export const has = (key) => key in catalogue;

/** @param {string | number} value */
function shown(value) {
  return typeof value === "number" ? value.toLocaleString(language) : value;
}
