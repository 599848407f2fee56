// @ts-check
/** What is looked for: people, verdicts and filters. The address of the page keeps all of it. */
import { get } from "./api.js";
import { archive } from "./archive.js";
import { purpose } from "./purpose.js";

/** @typedef {import("./pictures.js").Box} Box */
/** @typedef {{picture: string, width: number, height: number, box: Box, query: string}} Origin where a selection was made */

const KEPT = "fdps-selections";
export const TOP = 100;
const MOST = 500;

/** @type {Record<string, string>} filter of the question → parameter of the address */
const FILTERS = {
  after: "after",
  before: "before",
  time_of_day: "day",
  min_height: "height",
  source: "source",
};

export class Question {
  /** @param {URLSearchParams} [from] */
  constructor(from = new URLSearchParams()) {
    /** Selections and `item:N`, all of the person looked for. @type {string[]} */
    this.like = from.getAll("like");
    /** @type {number[]} */
    this.confirmed = from.getAll("yes").map(Number);
    /** @type {number[]} */
    this.rejected = from.getAll("no").map(Number);
    /** @type {string[]} */
    this.cameras = from.getAll("camera");
    /** @type {Record<string, string>} */
    this.filters = {};
    for (const [name, parameter] of Object.entries(FILTERS))
      this.filters[name] = from.get(parameter) ?? "";
    /** Least similarity that is shown. @type {number | null} */
    this.least = from.has("least") ? Number(from.get("least")) : null;
    this.group = from.get("group") === "appearance" ? "appearance" : "none";
    this.view = from.get("view") === "crops" ? "crops" : "scenes";
    this.case = from.get("case") ?? "";
    this.archive = from.get("archive") ?? "";
    this.top = TOP;
  }

  get isAsked() {
    return this.like.length + this.confirmed.length > 0 || this.case !== "";
  }

  get isFiltered() {
    return this.cameras.length > 0 || Object.values(this.filters).some(Boolean);
  }

  /** @returns {URLSearchParams} */
  parameters() {
    const to = new URLSearchParams();
    if (this.archive) to.set("archive", this.archive);
    for (const one of this.like) to.append("like", one);
    for (const one of this.confirmed) to.append("yes", String(one));
    for (const one of this.rejected) to.append("no", String(one));
    for (const one of this.cameras) to.append("camera", one);
    for (const [name, parameter] of Object.entries(FILTERS))
      if (this.filters[name]) to.set(parameter, this.filters[name]);
    if (this.least !== null) to.set("least", this.least.toFixed(3));
    if (this.group !== "none") to.set("group", this.group);
    if (this.view !== "scenes") to.set("view", this.view);
    if (this.case) to.set("case", this.case);
    return to;
  }

  /** Let the address tell the question. @param {{isNew?: boolean}} [options] `isNew`: one can go back to the former */
  keep({ isNew = false } = {}) {
    const text = this.parameters().toString();
    history[isNew ? "pushState" : "replaceState"](
      null,
      "",
      location.pathname + (text && `?${text}`),
    );
    for (const link of document.querySelectorAll('[data-page="search"], [data-page="timeline"]')) {
      /** @type {HTMLAnchorElement} */ (link).search = text;
    }
  }

  /** The body of a search. @returns {Promise<Record<string, any>>} */
  async body() {
    const given = await purpose();
    const { time_of_day, min_height, ...times } = this.filters;
    const set = Object.fromEntries(
      Object.entries({ ...times, time_of_day }).filter(([, value]) => value),
    );
    return {
      archive: (await archive()).id,
      like: [...this.like, ...this.confirmed.map((item) => `item:${item}`)],
      unlike: this.rejected.map((item) => `item:${item}`),
      top: Math.min(this.top, MOST),
      group: this.group,
      ...set,
      ...(this.cameras.length && { cameras: this.cameras }),
      ...(min_height && { min_height: Number(min_height) }),
      ...(given && { purpose: given }),
    };
  }

  /** Whether more candidates can be had than are shown. @param {number} nHits */
  hasMore(nHits) {
    return nHits >= this.top && this.top < MOST;
  }

  /** @param {number} item @param {"confirmed" | "rejected" | null} verdict */
  judge(item, verdict) {
    this.confirmed = this.confirmed.filter((other) => other !== item);
    this.rejected = this.rejected.filter((other) => other !== item);
    if (verdict) this[verdict].push(item);
  }
}

/** Remember where a selection was made, for as long as the browser tab lives. @param {string} id @param {Origin} origin */
export function rememberOrigin(id, origin) {
  sessionStorage.setItem(KEPT, JSON.stringify({ ...origins(), [id]: origin }));
}

/** @param {string} id @returns {Origin | undefined} */
export const originOf = (id) => origins()[id];

/** @returns {Record<string, Origin>} */
const origins = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");

/** A person of the archive. @param {number} item @param {string} archiveId @returns {Promise<any>} */
export const personOf = (item, archiveId) =>
  get(`/people/${item}?archive=${encodeURIComponent(archiveId)}`);

/** The number of a person in `item:N`, or nothing. @param {string} id */
export const itemOf = (id) => (id.startsWith("item:") ? Number(id.slice(5)) : null);
