// One table for each service, with the columns that HAProxy's statistics have.

import { button, el, field, select, setAttribute, setText } from "../dom.js";
import { clock, count, duration, milliseconds, percent, rate, roughly } from "../format.js";
import { operate, reweigh } from "../operating.js";
import { backendsOf, base, chip, paint, tone, wish } from "../states.js";
import { Table } from "../table.js";

export class Services {
  name = "services";
  title = "Services";

  constructor(model) {
    this.model = model;
    this.filter = el("input", { type: "search", oninput: () => this.update(), placeholder: "service, route or server" });
    this.which = select([["", "all backends"], ["ill", "only those that are not UP"]], { onchange: () => this.update() });
    this.list = el("div");
    this.parts = new Map();
    this.none = el("p", { class: "empty", hidden: true }, "No backend fits.");
    this.node = el("div", {}, el("div", { class: "filters" }, field("Filter", this.filter), field("Show", this.which)), this.list, this.none);
  }

  update() {
    const names = new Set();
    let any = false;
    for (const service of this.model.status.services) {
      names.add(service.name);
      any = this.part(service).update(service, (backend) => this.fits(service, backend)) || any;
    }
    for (const [name, part] of this.parts) if (!names.has(name)) this.drop(name, part);
    this.none.hidden = any;
  }

  part(service) {
    if (!this.parts.has(service.name)) {
      const part = new ServiceTable(this.model, service);
      this.parts.set(service.name, part);
      this.list.append(part.node);
    }
    return this.parts.get(service.name);
  }

  drop(name, part) {
    part.node.remove();
    this.parts.delete(name);
  }

  fits(service, backend) {
    const sought = this.filter.value.trim().toLowerCase();
    const named = `${service.protocol} ${backend.name}`.toLowerCase().includes(sought);
    return named && (!this.which.value || tone(backend.state) !== "ok");
  }
}

class ServiceTable {
  constructor(model, service) {
    this.model = model;
    this.state = chip("OPEN");
    this.facts = el("span", { class: "muted" });
    this.up = el("span", { class: "muted" });
    this.table = new Table({
      caption: `Service ${service.name}`, key: (row) => row.key, columns: this.columns(),
      heading: (row) => row.heading ?? null, mark: (row) => (row.backend ? `row ${tone(row.backend.state)}` : row.heading ? "heading" : "whole"),
    });
    this.node = el("details", { open: true, class: "service" },
      el("summary", {}, el("h3", {}, service.name), " ", this.state, " ", this.up, " ", this.facts), this.table.node);
  }

  // Whether there is anything to see.
  update(service, fits) {
    const rows = rowsOf(service, fits);
    const shown = rows.some((row) => row.backend);
    this.node.hidden = !shown;
    if (!shown) return false;
    const backends = backendsOf(service);
    const up = backends.filter((backend) => base(backend.state) === "UP").length;
    paint(this.state, service.state);
    setText(this.up, `${up} of ${backends.length} UP`);
    setText(this.facts, `${service.protocol} on ${service.listen.join(", ")} · ${service.persistence} · ${service.scheduling}${service.group ? ` · group ${service.group}` : ""}`);
    this.table.sync(rows);
    return true;
  }

  columns() {
    return [...NAMES, ...this.loads(), ...TROUBLES, ...CHECKS, ...this.weights()];
  }

  loads() {
    return [
      { head: "Cur", group: "Sessions/s", width: 5, kind: "num", text: (row) => (row.backend ? rate(this.model.backendRate(row.backend)) : rate(row.service.sessions.rate)) },
      { head: "Max", group: "Sessions/s", width: 5, kind: "num", text: (row) => (row.backend ? "" : rate(row.service.sessions.rate_max)) },
      ...LOADS,
    ];
  }

  weights() {
    const number = { head: "Wght", title: "weight", width: 5.5, kind: "num", text: (row) => (row.backend ? String(row.backend.weight) : "") };
    const pressed = (get) => reweigh(this.model, { server: get().backend.server, service: get().service.name, weight: get().backend.weight });
    const weight = this.model.operates
      ? { ...number, build: (get) => button("", () => pressed(get), { class: "link-like" }), fill: fillWeight }
      : number;
    const columns = [
      weight,
      { head: "Ramp", width: 6, kind: "num", title: "part of the weight that counts", text: (row) => (row.backend ? percent(row.backend.ramp) : "") },
      { head: "Bck", width: 4, title: "a backup", text: (row) => (row.backend?.backup ? "yes" : "") },
    ];
    if (this.model.operates) columns.push({ head: "Set to", width: 7.5, build: (get) => this.setter(get), fill: fillSetter });
    return columns;
  }

  setter(get) {
    const control = select([["", "…"], ["ready", "ready"], ["drain", "drain"], ["maint", "maint"]]);
    const go = el("span", { class: "actions" }, control);
    control.addEventListener("change", () => {
      const state = control.value;
      control.value = "";
      if (state) operate(this.model, { server: get().backend.server, service: get().service.name, state });
    });
    return go;
  }
}

// The service itself, then each target's backends below its name, where it has several.
function rowsOf(service, fits) {
  const rows = [{ key: "", service }];
  for (const target of service.targets) {
    const backends = target.backends.filter(fits);
    if (!backends.length) continue;
    if (service.targets.length > 1) rows.push({ key: `heading ${target.name}`, service, heading: headingOf(service, target) });
    for (const backend of backends) rows.push({ key: backend.name, service, target, backend });
  }
  return rows;
}

function headingOf(service, target) {
  const name = target.route ?? (target.port ? `port ${target.port}` : target.name);
  const more = target.persistence && target.persistence !== service.persistence ? ` · ${target.persistence}` : "";
  return `${name}${more}`;
}

const both = (read) => (row) => read(row.backend ?? row.service);

const NAMES = [
  { head: "Server", width: 11, kind: "head", text: (row) => row.backend?.server ?? "service", hint: (row) => (row.backend ? `${row.backend.name} at ${row.backend.host ?? "no address"}:${row.backend.port}` : "") },
  { head: "State", width: 11, build: () => chip("UP"), fill: (node, row) => paint(node, both((each) => each.state)(row), wish(row.backend?.operator)) },
  { head: "Queue", width: 6.5, kind: "num", title: "requests that wait", text: (row) => count(row.backend ? row.backend.queue : row.service.waiting) },
];
const LOADS = [
  { head: "Cur", group: "Sessions", width: 6, kind: "num", text: (row) => count(both((each) => each.sessions.current)(row)) },
  { head: "Max", group: "Sessions", width: 6, kind: "num", text: (row) => count(both((each) => each.sessions.max)(row)) },
  { head: "Limit", group: "Sessions", width: 6.5, kind: "num", text: (row) => count(row.backend ? row.backend.limit : row.service.sessions.limit) },
  { head: "Total", group: "Sessions", width: 6.5, kind: "num", text: (row) => count(both((each) => each.sessions.total)(row)) },
  { head: "In", group: "Bytes", width: 6.5, kind: "num", text: (row) => count(both((each) => each.bytes_in)(row)) },
  { head: "Out", group: "Bytes", width: 6.5, kind: "num", text: (row) => count(both((each) => each.bytes_out)(row)) },
];
const TROUBLES = [
  { head: "Req", group: "Errors", width: 4.5, kind: "num", text: (row) => (row.backend ? "" : count(row.service.errors.request)) },
  { head: "Conn", group: "Errors", width: 5.5, kind: "num", text: (row) => count(both((each) => each.errors.connect)(row)) },
  { head: "Resp", group: "Errors", width: 5.5, kind: "num", text: (row) => count(both((each) => each.errors.response)(row)) },
  { head: "Retr", group: "Again", width: 5, kind: "num", title: "retries", text: (row) => count(both((each) => each.retries)(row)) },
  { head: "Redis", group: "Again", width: 5.5, kind: "num", title: "redispatches", text: (row) => count(both((each) => each.redispatches)(row)) },
];
const CHECKS = [
  { head: "p95 ms", width: 6.5, kind: "num", title: "latency of the last minute", text: (row) => whole(both((each) => each.latency.p95)(row)) },
  { head: "Last check", width: 11.5, text: (row) => (row.backend ? check(row.backend.check) : ""), hint: (row) => (row.backend ? checked(row.backend.check) : "") },
  { head: "Count", group: "Down", width: 6, kind: "num", text: (row) => (row.backend ? count(row.backend.down.count) : "") },
  { head: "Time", group: "Down", width: 6, kind: "num", text: (row) => (row.backend?.down.count ? roughly(row.backend.down.seconds) : ""), hint: (row) => downFor(row.backend) },
];

function downFor(backend) {
  if (!backend?.down.count) return "";
  return `${duration(backend.down.seconds)} together${backend.down.since ? `, since ${clock(backend.down.since)}` : ""}`;
}

function whole(number) {
  return number === null ? "–" : count(Math.round(number));
}

function check({ code, duration_ms: took }) {
  return code ? `${code}${took === null ? "" : ` ${milliseconds(took)}`}` : "–";
}

function checked({ name, phase, reason, last }) {
  return [name, phase, reason, last ? clock(last) : ""].filter(Boolean).join(", ");
}

function fillWeight(node, row) {
  node.hidden = !row.backend;
  if (!row.backend) return;
  setText(node, String(row.backend.weight));
  setAttribute(node, "aria-label", `Weight of ${row.backend.name}: ${row.backend.weight}. Change it`);
}

function fillSetter(node, row) {
  node.hidden = !row.backend;
  if (row.backend) setAttribute(node.firstChild, "aria-label", `Set ${row.backend.server} in ${row.service.name} to`);
}
