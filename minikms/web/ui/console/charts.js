// Charts in SVG, each with a description in words.

import { h, s } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 120;

/** Bars over time; `bins` have a `start`, and the numbers `good` and `bad`. Failed calls are hatched. */
export function bars(summary, bins) {
  const most = Math.max(1, ...bins.map(({ good, bad }) => good + bad));
  const step = WIDTH / bins.length;
  const shapes = bins.flatMap(({ start, good, bad }, place) => {
    const title = () => s("title", {}, `${start}: ${good + bad} calls, ${bad} failed`);
    const bar = (from, number, style) => {
      const height = (number / most) * HEIGHT;
      const y = HEIGHT - (from / most) * HEIGHT - height;
      return number > 0 && s("rect", { x: place * step + 1, y, height, width: Math.max(1, step - 2), class: style }, title());
    };
    return [bar(0, good, "good"), bar(good, bad, "bad")];
  });
  const hatch = s(
    "pattern",
    { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 3, height: 6 })
  );
  return figure(summary, [s("defs", {}, hatch), shapes], bins[0].start, bins.at(-1).start);
}

/** A line over time; an unknown value is a gap. */
export function line(summary, values) {
  return figure(summary, lines(values));
}

/** A line over time for a cell of a table. */
export function smallLine(summary, values) {
  return picture(summary, lines(values), "small-line");
}

function lines(values) {
  const known = values.filter((value) => value !== null);
  const most = Math.max(1, ...known);
  const step = WIDTH / Math.max(1, values.length - 1);
  const runs = [[]];
  values.forEach((value, place) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push(`${(place * step).toFixed(1)},${(HEIGHT - (value / most) * (HEIGHT - 4) - 2).toFixed(1)}`);
  });
  return runs
    .filter((run) => run.length > 0)
    .map((run) => s("polyline", { points: run.join(" "), class: "line-of-values" }));
}

function figure(summary, shapes, first, last) {
  return h(
    "figure",
    {},
    h("figcaption", {}, summary),
    picture(summary, shapes),
    first && h("div", { class: "axis-labels quiet" }, h("span", {}, first), h("span", {}, last))
  );
}

function picture(summary, shapes, style) {
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": summary, class: style },
    s("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "axis" }),
    shapes
  );
}
