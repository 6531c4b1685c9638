// At a glance: what is wrong, how much there is to do, the real servers, and who was down when.

import { el, setAttribute, setText } from "../dom.js";
import { bytes, count, rate } from "../format.js";
import { everyBackend } from "../model.js";
import { base, tone } from "../states.js";
import { ServerTable } from "./servers.js";
import { Timeline } from "./timeline.js";
import { Warnings } from "./warnings.js";

export class Overview {
  name = "overview";
  title = "Overview";

  constructor(model) {
    this.model = model;
    this.warnings = new Warnings(model);
    this.tiles = TILES.map(([label, read]) => new Tile(label, read));
    this.servers = new ServerTable(model);
    this.timeline = new Timeline(model);
    this.node = el("div", {}, this.warnings.node,
      el("dl", { class: "tiles" }, ...this.tiles.map((tile) => tile.node)),
      el("h3", {}, "Real servers"), this.servers.node,
      this.timeline.node);
  }

  update() {
    this.warnings.update();
    this.tiles.forEach((tile) => tile.update(this.model));
    this.servers.update();
    this.timeline.update();
  }
}

// A number with a name. read(model) → [value, note, tone].
class Tile {
  constructor(label, read) {
    this.read = read;
    this.value = el("span");
    this.note = el("small");
    this.node = el("div", {}, el("dt", {}, label), el("dd", {}, this.value, " ", this.note));
  }

  update(model) {
    const [value, note = "", colour = ""] = this.read(model);
    setText(this.value, value);
    setText(this.note, note);
    setAttribute(this.value, "class", colour ? `tone ${colour}` : null);
  }
}

function sum(model, read) {
  return model.status.services.reduce((total, service) => total + read(service), 0);
}

function servers(model) {
  const all = model.status.servers;
  const up = all.filter((server) => base(server.state) === "UP" || server.state === "no check").length;
  return [`${up} of ${all.length}`, "", up === all.length ? "ok" : all.some((one) => tone(one.state) === "bad") ? "bad" : "drain"];
}

function services(model) {
  const all = model.status.services;
  const open = all.filter((service) => service.state === "OPEN").length;
  return [`${open} of ${all.length}`, "", open === all.length ? "ok" : "bad"];
}

function backends(model) {
  const all = everyBackend(model.status);
  const usable = all.filter((backend) => backend.usable).length;
  return [`${usable} of ${all.length}`, "", usable < all.length ? "bad" : ""];
}

// Of the last step that the server told.
function flow(model, key) {
  return model.past.of("", 10).whole[key].at(-1) ?? null;
}

function slowest(model) {
  const all = model.status.services.map((service) => service.latency.p95).filter((value) => value !== null);
  return all.length ? [`${Math.round(Math.max(...all))} ms`] : ["–"];
}

// In colour from one in a hundred on.
function failures(model) {
  const { answers, requests } = model.past.of("", 10).whole;
  const last = answers["5xx"].at(-1) ?? null;
  return [last === null ? "–" : last.toFixed(1), "/s", last > (requests.at(-1) ?? 0) / 100 ? "warn" : ""];
}

const TILES = [
  ["Services OPEN", services],
  ["Real servers UP", servers],
  ["Usable backends", backends],
  ["Sessions", (model) => [count(sum(model, (service) => service.sessions.current))]],
  ["New connections", (model) => [rate(sum(model, (service) => service.sessions.rate)), "/s"]],
  ["Requests", (model) => [rate(sum(model, (service) => service.requests.rate)), "/s"]],
  ["Answers 5xx", failures],
  ["Worst p95", slowest],
  ["In", (model) => [bytes(flow(model, "bytes_in")), "/s"]],
  ["Out", (model) => [bytes(flow(model, "bytes_out")), "/s"]],
];
