// @ts-check
/** A busy server answers 429: whoever asks waits a little and asks again. */

const MOST_TRIES = 6;
const WAIT_MS = 700;

/** @type {WeakMap<HTMLImageElement, number>} */
const tries = new WeakMap();

/** @param {number} ms */
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Ask again while the server is busy.
 * @param {() => Promise<Response>} ask
 * @returns {Promise<Response>}
 */
export async function patiently(ask) {
  for (let tried = 1; ; tried++) {
    const response = await ask();
    if (response.status !== 429 || tried === MOST_TRIES) return response;
    await pause(1000 * Number(response.headers.get("retry-after") ?? 1) * (0.5 + Math.random()));
  }
}

// The event of a picture does not bubble, but it is seen on its way down.
document.addEventListener(
  "error",
  async (event) => {
    const picture = event.target;
    if (!(picture instanceof HTMLImageElement) || !picture.getAttribute("src")?.startsWith("/api/"))
      return;
    const tried = (tries.get(picture) ?? 0) + 1;
    tries.set(picture, tried);
    picture.classList.add("missing"); // no sign of a broken picture while it is asked for again
    if (tried > MOST_TRIES) return;
    await pause(WAIT_MS * tried * (0.5 + Math.random()));
    const address = new URL(picture.src);
    address.searchParams.set("try", String(tried));
    picture.src = address.pathname + address.search;
  },
  { capture: true },
);
document.addEventListener(
  "load",
  ({ target }) => target instanceof HTMLImageElement && target.classList.remove("missing"),
  { capture: true },
);
