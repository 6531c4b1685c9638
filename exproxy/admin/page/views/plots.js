// What happened over time, for all services or one: six plots with one cursor.

import { el, field, select, setOptions } from "../dom.js";
import { bytes, count, milliseconds } from "../format.js";
import { CLASSES } from "../past.js";
import { Plot } from "../plot.js";

const WINDOWS = [["300", "5 minutes"], ["900", "15 minutes"], ["3600", "an hour"]];
const PAINTS = ["one", "two", "three", "four", "five", "six"];

export class Plots {
  name = "plots";
  title = "Plots";

  constructor(model) {
    this.model = model;
    this.service = select([["", "all services"]], { onchange: () => this.update() });
    this.window = select(WINDOWS, { onchange: () => this.update() });
    this.window.value = "900";
    this.plots = DRAWINGS.map((drawing) => ({ ...drawing, plot: new Plot(drawing) }));
    this.node = el("div", {}, el("div", { class: "filters" }, field("Service", this.service), field("Window", this.window)),
      el("div", { class: "plots" }, ...this.plots.map(({ plot }) => plot.node)));
    window.addEventListener("resize", () => this.node.offsetParent && this.update());
  }

  update() {
    setOptions(this.service, [["", "all services"], ...this.model.status.services.map(({ name }) => [name, name])]);
    const past = this.model.past.of(this.service.value, Number(this.window.value));
    for (const { plot, pick } of this.plots) {
      const picked = pick(past);
      plot.draw(past.times, picked.map(([label, colour]) => ({ label, colour })), picked.map(([, , column]) => column));
    }
  }

  heardHistory() {
    this.update();
  }

  recolour() {
    this.plots.forEach(({ plot }) => plot.forget());
    if (this.node.offsetParent) this.update();
  }
}

function byServer(read) {
  return ({ servers }) => [...servers].map(([name, one], at) => [name, PAINTS[at % PAINTS.length], read(one)]);
}

const ANSWERS = { "1xx": "none", "2xx": "ok", "3xx": "one", "4xx": "drain", "5xx": "bad", other: "maint" };

// pick(past) → [label, colour, column] for each line.
const DRAWINGS = [
  { title: "New connections", note: "a second", format: count, pick: ({ whole }) => [["connections", "one", whole.rate]] },
  { title: "Requests", note: "a second; connections where a protocol has none", format: count, pick: ({ whole }) => [["requests", "one", whole.requests]] },
  {
    title: "Answers", note: "a second, by class, stacked", format: count, stacked: true,
    pick: ({ whole }) => CLASSES.filter((name) => whole.answers[name].some(Boolean)).map((name) => [name, ANSWERS[name], whole.answers[name]]),
  },
  {
    title: "Latency", note: "of all services the slowest", format: milliseconds,
    pick: ({ whole }) => [["p50", "one", whole.p50], ["p95", "drain", whole.p95], ["p99", "bad", whole.p99]],
  },
  { title: "Sessions by server", note: "stacked", format: count, stacked: true, pick: byServer((one) => one.sessions) },
  {
    title: "Bytes", note: "a second", format: bytes,
    pick: ({ whole }) => [["in", "one", whole.bytes_in], ["out", "two", whole.bytes_out]],
  },
];
