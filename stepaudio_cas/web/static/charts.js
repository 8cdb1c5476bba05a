// Lines over time, drawn as SVG at the size they have on the screen.

import { h, put, s, setText } from "./dom.js";
import { at, atMinute } from "./units.js";

const MOST = 60;
const LEAST = 60;
const EVERY = 5;
const CLOCK = 600;
const HEIGHT = 150;
const SIDE = { left: 56, right: 10, top: 10, bottom: 22 };
const ROWS = 12;

/**
 * What happened in equal times up to the last point: differences of running totals. Where less is
 * known than `range` seconds, that little fills the picture.
 */
export function bins(points, range) {
  if (!points.length) return [];
  const end = points[points.length - 1].time;
  range = Math.min(range, Math.max(end - points[0].time, LEAST));
  const count = Math.min(MOST, Math.floor(range / EVERY));
  const length = range / count;
  const made = Array.from({ length: count }, (_, number) => ({
    time: end - range + (number + 1) * length, hits: 0, misses: 0, lookup: 0, saved: 0, total: null,
  }));
  for (let number = 1; number < points.length; number += 1) {
    const [before, point] = [points[number - 1], points[number]];
    const bin = made[Math.min(Math.ceil((point.time - (end - range)) / length), count) - 1];
    if (!bin) continue;
    bin.hits += Math.max(point.hits - before.hits, 0);
    bin.misses += Math.max(point.misses - before.misses, 0);
    bin.lookup += Math.max(point.seconds_lookup - before.seconds_lookup, 0);
    bin.saved += Math.max(point.seconds_saved - before.seconds_saved, 0);
  }
  let total = 0;
  const first = points[0].time;
  for (const bin of made) {
    total += bin.saved;
    if (bin.time >= first) bin.total = total;
  }
  return made;
}

/** The next number above whose half is round; seconds are in minutes or hours where they are many. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const unit = [3600, 60, 1].find((one) => value >= one) || 1;
  const power = 10 ** Math.floor(Math.log10(value / unit));
  return [1, 2, 4, 6, 10].find((factor) => value <= factor * power * unit * 1.000001) * power * unit;
}

export class Chart {
  constructor(parent, { title, value, show, most, none, sum }) {
    Object.assign(this, { value, show, most, none, sum, bins: [] });
    const id = `chart-${parent.children.length + 1}`;
    this.svg = s("svg", { role: "img", "aria-labelledby": `${id}-title ${id}-said`, height: HEIGHT });
    this.said = h("p", { id: `${id}-said`, class: "quiet" });
    this.reading = h("p", { class: "reading", "aria-hidden": "true" });
    this.rows = h("tbody");
    const table = h("table", { class: "small", "aria-labelledby": `${id}-title` },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "until"), h("th", { scope: "col", class: "number" }, title))),
      this.rows);
    parent.append(h("figure", null,
      h("figcaption", null, h("h3", { id: `${id}-title` }, title), this.reading),
      this.svg, this.said,
      h("details", null, h("summary", null, "As a table"), table)));
    this.svg.addEventListener("pointermove", (event) => this.read(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  update(found) {
    this.bins = found.map((bin) => ({ time: bin.time, value: this.value(bin) }));
    const known = this.bins.filter((bin) => bin.value !== null);
    this.top = this.most || ceiling(Math.max(0, ...known.map((bin) => bin.value)));
    setText(this.said, this.summary(known));
    put(this.rows, known.slice(-ROWS).map((bin) =>
      h("tr", null, h("th", { scope: "row" }, at(bin.time)), h("td", { class: "number" }, this.show(bin.value)))));
    this.draw();
  }

  summary(known) {
    if (!known.length) return this.none;
    const values = known.map((bin) => bin.value);
    const last = this.show(values[values.length - 1]);
    if (this.sum) return `${last} since ${at(known[0].time)}.`;
    return `Last ${last}, lowest ${this.show(Math.min(...values))}, highest ${this.show(Math.max(...values))}.`;
  }

  x(number) {
    return SIDE.left + ((this.width - SIDE.left - SIDE.right) * number) / Math.max(this.bins.length - 1, 1);
  }

  y(value) {
    return HEIGHT - SIDE.bottom - ((HEIGHT - SIDE.top - SIDE.bottom) * value) / this.top;
  }

  draw() {
    this.width = this.svg.clientWidth;
    if (!this.width || !this.bins.length) return;
    const right = this.width - SIDE.right;
    const floor = this.y(0);
    const grid = [0, 0.5, 1].map((part) => {
      const y = this.y(this.top * part);
      return [
        s("line", { class: part ? "grid" : "axis", x1: SIDE.left, x2: right, y1: y, y2: y }),
        s("text", { x: SIDE.left - 8, y: y + 4, "text-anchor": "end" }, this.show(this.top * part)),
      ];
    });
    const dots = this.bins.map((bin, number) => ({ ...bin, x: this.x(number) })).filter((bin) => bin.value !== null)
      .map((bin) => ({ ...bin, y: this.y(Math.min(bin.value, this.top)) }));
    const line = dots.map((dot, number) => `${number ? "L" : "M"}${dot.x.toFixed(1)} ${dot.y.toFixed(1)}`).join("");
    const last = dots[dots.length - 1];
    const area = dots.length > 1 ? `${line}L${last.x.toFixed(1)} ${floor}L${dots[0].x.toFixed(1)} ${floor}Z` : "";
    const shown = this.bins[this.bins.length - 1].time - this.bins[0].time > CLOCK ? atMinute : at;
    const times = [[0, "start"], [this.bins.length - 1, "end"]].map(([number, anchor]) =>
      s("text", { x: this.x(number), y: HEIGHT - 5, "text-anchor": anchor }, shown(this.bins[number].time)));
    this.dots = dots;
    this.pointer = s("g", { class: "pointer" });
    put(this.svg, grid, times,
      area && s("path", { class: "area", d: area }),
      line && s("path", { class: "line", d: line }),
      dots.length <= 24 && !this.sum ? dots.map((dot) => s("circle", { class: "dot", cx: dot.x, cy: dot.y, r: 2.5 })) : null,
      this.pointer);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
  }

  read(x) {
    if (!this.dots) return;
    const near = x === null ? null
      : this.dots.reduce((best, dot) => (!best || Math.abs(dot.x - x) < Math.abs(best.x - x) ? dot : best), null);
    setText(this.reading, near ? `${at(near.time)}  ${this.show(near.value)}` : "");
    put(this.pointer, near && [
      s("line", { x1: near.x, x2: near.x, y1: SIDE.top, y2: HEIGHT - SIDE.bottom }),
      s("circle", { class: "dot", cx: near.x, cy: near.y, r: 4 }),
    ]);
  }
}
