// One plot over time: lines, or areas that stand on each other. The drawing is uPlot's.

import { el } from "./dom.js";
import { colour } from "./theme.js";

const HEIGHT = 170;

// title, note: its words; format(number) → text; stacked: areas in place of lines.
export class Plot {
  constructor({ title, note = "", format, stacked = false }) {
    this.format = format;
    this.stacked = stacked;
    this.box = el("div", { class: "plot" });
    this.node = el("figure", {}, el("figcaption", {}, el("strong", {}, title), " ", el("span", { class: "muted" }, note)), this.box);
    this.shape = "";
    this.plot = null;
  }

  // series: [{label, colour}], colours by name; columns: one list for each series, as long as times; null where nothing is known.
  draw(times, series, columns) {
    const shape = JSON.stringify(series);
    if (shape !== this.shape) this.build(series, shape);
    this.raw = columns;
    this.resize();
    this.plot.setData([times, ...(this.stacked ? piled(columns) : columns)]);
  }

  build(series, shape) {
    this.plot?.destroy();
    this.shape = shape;
    this.plot = new window.uPlot(this.options(series), [[], ...series.map(() => [])], this.box);
  }

  // Draw with other colours next time.
  forget() {
    this.shape = "";
  }

  resize() {
    const width = this.box.clientWidth;
    if (width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options(series) {
    return {
      width: this.box.clientWidth || 400,
      height: HEIGHT,
      cursor: { sync: { key: "time" }, y: false, points: { size: 5 } },
      scales: { y: { range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      padding: [8, 6, 0, 0],
      axes: [axis({ size: 24, space: 70, values: clocks }), axis({ size: 58, space: 30, values: (plot, splits) => splits.map(this.format) })],
      series: [{ value: (plot, time) => (time === null ? "now" : clocks(plot, [time], 0, 0, 1)[0]) }, ...series.map((each, at) => this.line(each, at))],
    };
  }

  line({ label, colour: name }, at) {
    const stroke = colour(name);
    const value = (plot, shown, series_, index) => this.format(this.raw?.[at]?.[index ?? this.raw[at].length - 1] ?? null);
    return { label, stroke, width: this.stacked ? 1 : 1.5, fill: this.stacked ? colour(`soft-${name}`) : undefined, points: { show: false }, value };
  }
}

// Each list with all that stand after it, so that painting them in order covers what is below.
function piled(columns) {
  const made = columns.map((column) => column.slice());
  for (let at = made.length - 2; at >= 0; at -= 1) {
    made[at] = made[at].map((value, index) => (value ?? 0) + (made[at + 1][index] ?? 0));
  }
  return made;
}

function axis(more) {
  return {
    stroke: colour("muted"), font: "11px system-ui, sans-serif", ticks: { show: false },
    grid: { stroke: colour("line"), width: 1 }, gap: 4, ...more,
  };
}

function clocks(plot, splits, axisIndex, space, step) {
  const seconds = step < 60;
  return splits.map((time) => new Date(time * 1000).toLocaleTimeString("en-GB", {
    hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined,
  }));
}
