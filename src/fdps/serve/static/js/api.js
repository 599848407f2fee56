// @ts-check
/** The REST interface; every refusal becomes a `Problem` with the words of the server. */
import { sentence } from "./format.js";
import { t } from "./messages.js";
import { patiently } from "./patience.js";

const ROOT = "/api/v1";

export class Problem extends Error {
  /** @param {{status: number, title?: string, detail?: string, hint?: string, code?: string}} said */
  constructor(said) {
    super(sentence(said.detail ?? "") || said.title || t("problem.other", { status: said.status }));
    this.status = said.status;
    this.title = said.title || "";
    this.hint = sentence(said.hint ?? "");
    this.code = said.code || "";
  }
}

/** @param {string} path @param {{signal?: AbortSignal}} [options] @returns {Promise<any>} */
export const get = (path, options) => call("GET", path, undefined, options);
/** @param {string} path @param {any} body @param {{signal?: AbortSignal, headers?: any}} [options] @returns {Promise<any>} */
export const post = (path, body, options) => call("POST", path, body, options);
/** @param {string} path @param {any} body @param {{headers?: any}} [options] @returns {Promise<any>} */
export const put = (path, body, options) => call("PUT", path, body, options);
/** @param {string} path @param {any} body @param {{headers?: any}} [options] @returns {Promise<any>} */
export const patch = (path, body, options) => call("PATCH", path, body, options);
/** @param {string} path @param {{headers?: any}} [options] @returns {Promise<any>} */
export const remove = (path, options) => call("DELETE", path, undefined, options);

/**
 * Ask for a file, and hand it to the browser to save.
 * @param {string} path
 * @param {any} body
 * @returns {Promise<string>} the name of the file
 */
export async function download(path, body) {
  const response = await answer("POST", path, body);
  const named = /filename="?([^";]+)"?/.exec(response.headers.get("content-disposition") ?? "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = named ? named[1] : "export";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return link.download;
}

/** The address at which the server tells how a job goes, event by event. @param {string} job */
export const eventsOf = (job) => `${ROOT}/jobs/${encodeURIComponent(job)}/events`;

/** @param {string} method @param {string} path @param {any} body @param {any} [options] */
async function call(method, path, body, options) {
  const response = await answer(method, path, body, options);
  return response.status === 204 ? null : response.json();
}

/** @param {string} method @param {string} path @param {any} body @param {any} [options] */
async function answer(method, path, body, { signal, headers = {} } = {}) {
  const isForm = body instanceof FormData;
  const sent = body === undefined || isForm ? body : JSON.stringify(body);
  const typed = body === undefined || isForm ? {} : { "Content-Type": "application/json" };
  /** @type {Response} */
  let response;
  try {
    response = await patiently(() =>
      fetch(ROOT + path, {
        method,
        body: sent,
        signal,
        headers: { Accept: "application/json", ...typed, ...headers },
      }),
    );
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({
      status: 0,
      title: t("problem.away.title"),
      detail: t("problem.away.detail"),
      hint: t("problem.away.hint"),
    });
  }
  if (!response.ok) throw new Problem({ status: response.status, ...(await said(response)) });
  return response;
}

/** @param {Response} response */
async function said(response) {
  try {
    const told = await response.json();
    return typeof told.detail === "string" || told.title ? told : {};
  } catch {
    return {};
  }
}
