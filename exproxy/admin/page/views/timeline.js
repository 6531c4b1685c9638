// A strip for each backend: what state it was in over the last hour. Height and colour both say it.

import { el, setAttribute, setText, svg } from "../dom.js";
import { duration, percent } from "../format.js";
import { backendsOf, base, chip, paint, tone } from "../states.js";
import { Table } from "../table.js";

const HOUR = 3600;
const LEAST = 60;
const WIDTH = 1000;
const HEIGHTS = { ok: 4, none: 2, warn: 8, drain: 9, maint: 11, bad: 14 };

export class Timeline {
  constructor(model) {
    this.model = model;
    this.table = new Table({
      caption: "States over the last hour",
      key: (row) => row.key,
      columns: [
        { head: "Backend", kind: "head", text: (row) => row.label, hint: (row) => row.names },
        { head: "earlier … now", build: strip, fill: (node, row) => this.fillStrip(node, row.backend) },
        { head: "UP", kind: "num", text: (row) => percent(this.partUp(row.backend)), title: "part of that time in which it was in use" },
        { head: "State", build: () => chip("UP"), fill: (node, row) => paint(node, row.backend.state) },
        { head: "Since", kind: "num", text: (row) => this.since(row.backend) },
      ],
    });
    this.title = el("h3", {}, "The last hour");
    this.node = el("div", { class: "timeline" }, this.title, this.table.node);
  }

  update() {
    this.spans = new Map();
    const { uptime } = this.model.status.process;
    this.window = Math.min(HOUR, Math.max(LEAST, uptime));
    setText(this.title, uptime < HOUR ? `Since the start, ${duration(uptime)} ago` : "The last hour");
    this.table.sync(this.model.status.services.flatMap((service) => this.rowsOf(service)));
  }

  // A server's backends in one service share a row where the same happened to all of them.
  rowsOf(service) {
    const servers = new Map();
    for (const backend of backendsOf(service)) servers.set(backend.server, [...(servers.get(backend.server) ?? []), backend]);
    return [...servers].flatMap(([server, backends]) => this.alike(backends)
      ? [row(`${service.name}/${server}`, backends)]
      : backends.map((backend) => row(backend.name, [backend])));
  }

  alike(backends) {
    const shapes = backends.map((backend) => this.spansOf(backend).map(({ from, word }) => [Math.round(from / 10), word]));
    return new Set(shapes.map((shape) => JSON.stringify(shape))).size === 1;
  }

  // [{from, to, word}] from the window's start on. What was before the first change is not told: UP, where
  // it was not UP afterwards.
  spansOf(backend) {
    if (this.spans.has(backend.name)) return this.spans.get(backend.name);
    const now = this.model.now();
    const start = Math.max(now - this.window, now - this.model.status.process.uptime);
    const changes = this.model.past.changes.get(backend.name) ?? [];
    const points = changes.filter((change) => change.time > start);
    const first = [...changes].reverse().find((change) => change.time <= start);
    const words = [first?.state ?? (points.length ? before(points[0].state) : backend.state), ...points.map((change) => change.state)];
    const times = [start, ...points.map((change) => change.time), now];
    const spans = words.map((word, at) => ({ from: times[at], to: times[at + 1], word }));
    this.spans.set(backend.name, spans);
    return spans;
  }

  partUp(backend) {
    const spans = this.spansOf(backend).filter((span) => span.word !== "not known");
    const whole = spans.reduce((sum, span) => sum + span.to - span.from, 0);
    const up = spans.filter((span) => !["DOWN", "MAINT"].includes(base(span.word)));
    return whole ? up.reduce((sum, span) => sum + span.to - span.from, 0) / whole : 1;
  }

  since(backend) {
    const last = (this.model.past.changes.get(backend.name) ?? []).at(-1);
    return last ? duration(this.model.now() - last.time) : duration(this.model.status.process.uptime);
  }

  fillStrip(node, backend) {
    const now = this.model.now();
    const spans = this.spansOf(backend);
    const place = (time) => Math.round(Math.min(1, Math.max(0, 1 - (now - time) / this.window)) * WIDTH);
    const shape = spans.map((span) => [place(span.from), place(span.to), span.word]);
    const wanted = JSON.stringify(shape);
    if (node.dataset.shown === wanted) return;
    node.dataset.shown = wanted;
    node.replaceChildren(...shape.map(rectangle));
    setAttribute(node, "aria-label", spans.map((span) => `${span.word} ${duration(span.to - span.from)}`).join(", "));
  }
}

function before(word) {
  return base(word) === "UP" ? "not known" : "UP";
}

function row(name, backends) {
  const more = backends.length > 1 ? ` · ${backends.length} backends` : "";
  return { key: name, label: `${name}${more}`, backend: backends[0], names: backends.map((backend) => backend.name).join(", ") };
}

function strip() {
  return svg("svg", { viewBox: `0 0 ${WIDTH} 16`, preserveAspectRatio: "none", role: "img" });
}

function rectangle([from, to, word]) {
  const height = HEIGHTS[tone(word)];
  const title = svg("title");
  setText(title, word);
  return svg("rect", { x: from, y: 16 - height, width: Math.max(2, to - from), height, class: `fill ${tone(word)}` }, title);
}
