// @ts-check
/** Pictures with boxes drawn over them, in the pixels of the scene. */
import { h, s } from "./dom.js";

/** @typedef {[number, number, number, number]} Box corners x1, y1, x2, y2 in pixels of the scene */
/** @typedef {{width: number, height: number}} Size */

/**
 * A picture in a frame of fixed shape, with one person marked.
 * @param {{src: string, size: Size, box?: Box | null, alt: string, lazy?: boolean}} options
 */
export function shot({ src, size, box = null, alt, lazy = true }) {
  const picture = h("img", {
    src,
    alt,
    width: size.width,
    height: size.height,
    loading: lazy ? "lazy" : null,
    decoding: "async",
  });
  return h(
    "span",
    { class: "shot", vars: { "--ratio": `${size.width} / ${size.height}` } },
    picture,
    box && marks(size, [box]),
  );
}

/**
 * Boxes as a drawing that lies over a picture of any size.
 * @param {Size} size
 * @param {Box[]} boxes
 */
export function marks(size, boxes) {
  return s(
    "svg",
    { class: "marks", viewBox: `0 0 ${size.width} ${size.height}`, "aria-hidden": "true" },
    boxes.map(([x1, y1, x2, y2]) =>
      ["edge", "line"].map((part) =>
        s("rect", {
          class: part,
          x: x1,
          y: y1,
          width: Math.max(1, x2 - x1),
          height: Math.max(1, y2 - y1),
          rx: Math.min(size.width, size.height) * 0.006,
        }),
      ),
    ),
  );
}

/**
 * The place of a box as shares of the picture, for custom properties of CSS.
 * @param {Size} size
 * @param {Box} box
 */
export function place(size, [x1, y1, x2, y2]) {
  const percent = (/** @type {number} */ part, /** @type {number} */ whole) =>
    `${(100 * part) / whole}%`;
  return {
    "--x": percent(x1, size.width),
    "--y": percent(y1, size.height),
    "--w": percent(x2 - x1, size.width),
    "--h": percent(y2 - y1, size.height),
  };
}

/**
 * A part of a picture on a canvas of its own; empty until the picture has come.
 * @param {HTMLImageElement | HTMLCanvasElement} source
 * @param {Size} size of the scene, which may be larger than the source
 * @param {Box} box
 * @param {string} alt
 */
export function cutOut(source, size, [x1, y1, x2, y2], alt) {
  const height = 224;
  const canvas = h("canvas", {
    class: "cut-out",
    role: "img",
    "aria-label": alt,
    width: Math.max(1, Math.round((height * (x2 - x1)) / (y2 - y1))),
    height,
  });
  const draw = () => {
    const scale = ("naturalWidth" in source ? source.naturalWidth : source.width) / size.width;
    canvas
      .getContext("2d")
      .drawImage(
        source,
        x1 * scale,
        y1 * scale,
        (x2 - x1) * scale,
        (y2 - y1) * scale,
        0,
        0,
        canvas.width,
        canvas.height,
      );
  };
  if (source instanceof HTMLImageElement && !source.complete) source.addEventListener("load", draw);
  else draw();
  return canvas;
}
