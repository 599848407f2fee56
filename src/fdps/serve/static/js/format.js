// @ts-check
/** Numbers, times and levels in words. */
import { t } from "./messages.js";
import { h, icon } from "./dom.js";

const language = document.documentElement.lang;
// Made once: a formatter takes longer to make than a hundred cards.
const days = new Intl.DateTimeFormat(language, {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

/** @param {number} value */
export const similarity = (value) => value.toFixed(2);

/**
 * A count that may be a fraction, as short as it is honest.
 * @param {number} value
 */
export function expected(value) {
  if (value < 0.01) return t("format.under", { value: "0.01" });
  return t("format.about", {
    value: value < 10 ? Number(value.toPrecision(2)) : Math.round(value),
  });
}

/**
 * A wall-clock time of the archive. It is shown on the clock of its camera, never moved to another.
 * @param {string | null | undefined} iso
 * @param {{seconds?: boolean}} [options]
 */
export function time(iso, { seconds = false } = {}) {
  const parts = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d:\d\d)(:\d\d)?/.exec(iso ?? "");
  if (!parts) return t("format.no_time");
  const day = new Date(Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3])));
  return `${days.format(day)}, ${parts[4]}${seconds ? (parts[5] ?? "") : ""}`;
}

/**
 * Seconds in a video, or since midnight, as 1:02:03.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${rest}` : rest;
}

/** When a scene was taken, or where it is in its video. @param {any} scene */
export function when(scene) {
  if (scene.time) return time(scene.time, { seconds: true });
  return scene.offset_s === null || scene.offset_s === undefined
    ? t("format.no_time")
    : t("format.in_video", { at: clock(scene.offset_s) });
}

/** The words of an error as a sentence. @param {string} words */
export function sentence(words) {
  if (!words) return "";
  return words[0].toUpperCase() + words.slice(1) + (/[.!?:…]$/.test(words) ? "" : ".");
}

const SIGNS = { strong: "level-3", "worth a look": "level-2", weak: "level-1" };

/**
 * The level of a candidate: a sign and a word, never a colour alone.
 * @param {string | null} level
 * @param {number} value
 */
export function levelBadge(level, value) {
  const sign = SIGNS[/** @type {keyof typeof SIGNS} */ (level)];
  return h(
    "span",
    { class: `level ${level === "strong" ? "is-strong" : ""}` },
    sign && icon(sign),
    h("span", {}, level ? levelWord(level) : t("level.none")),
    h("span", { class: "number soft", title: t("level.similarity") }, similarity(value)),
  );
}

/** @param {string} level */
export const levelWord = (level) => t(`level.${level.replaceAll(" ", "_")}`);

/** @param {string | null} level */
export const levelRank = (level) => (level === "strong" ? 3 : level === "worth a look" ? 2 : 1);
