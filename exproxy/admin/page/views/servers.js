// The real servers across all services: one click each for ready, drain and maintenance, and a question.

import { button, el, setAttribute, setText } from "../dom.js";
import { clock, count } from "../format.js";
import { operate } from "../operating.js";
import { backendsOf, chip, paint, wish, worst } from "../states.js";
import { Table } from "../table.js";

const ACTIONS = [["ready", "Ready"], ["drain", "Drain"], ["maint", "Maint"]];

export class ServerTable {
  constructor(model) {
    this.model = model;
    this.table = new Table({
      caption: "Real servers", key: (server) => server.name, columns: this.columns(), empty: "No servers are configured.",
    });
    this.node = this.table.node;
  }

  columns() {
    const setTo = { head: "Set to", build: (get) => this.actions(get), fill: fillActions };
    return [
      { head: "Server", kind: "head", text: (server) => server.name },
      { head: "State", build: () => chip("UP"), fill: (node, server) => paint(node, server.state) },
      ...(this.model.operates ? [setTo] : []),
      { head: "Address", text: (server) => server.address },
      { head: "Sessions", kind: "num", text: (server) => count(server.sessions) },
      { head: "Share", kind: "num", build: () => share(), fill: (node, server) => fillShare(node, this.part(server)) },
      { head: "Weight", kind: "num", text: (server) => String(server.weight) },
      { head: "Services", build: () => el("span", { class: "chips" }), fill: (node, server) => this.fillServices(node, server) },
      { head: "Operator", text: (server) => words(server.operator) },
    ];
  }

  actions(get) {
    const make = ([state, text]) =>
      button(text, () => operate(this.model, { server: get().name, state }), { "data-state": state });
    return el("span", { class: "actions" }, ...ACTIONS.map(make));
  }

  part(server) {
    const all = this.model.status.servers.reduce((sum, each) => sum + each.sessions, 0);
    return all ? server.sessions / all : 0;
  }

  // One chip for those that are well, one for each that is not.
  fillServices(node, server) {
    const parts = this.model.status.services
      .map((service) => [service.name, worst(backendsOf(service).filter((one) => one.server === server.name).map((one) => one.state)), service])
      .filter(([, , service]) => backendsOf(service).some((one) => one.server === server.name));
    const lines = grouped(parts);
    const wanted = JSON.stringify(lines);
    if (node.dataset.shown === wanted) return;
    node.dataset.shown = wanted;
    node.replaceChildren(...lines.map(([word, text, title]) => el("span", { title }, chip(word), ` ${text}`)));
  }

  update() {
    this.table.sync(this.model.status.servers);
  }
}

// [state, "smtp" or "7", title] for each state among the services.
function grouped(parts) {
  const groups = new Map();
  for (const [name, word] of parts) groups.set(word, [...(groups.get(word) ?? []), name]);
  return [...groups].map(([word, names]) => [
    word, names.length === parts.length ? `all ${names.length}` : names.length > 2 ? String(names.length) : names.join(", "), names.join(", "),
  ]);
}

function words(operator) {
  const said = wish(operator);
  if (!said) return "";
  return `${said}${operator.since ? `, since ${clock(operator.since)}` : ""}${operator.until ? `, until ${clock(operator.until)}` : ""}`;
}

function share() {
  return el("span", { class: "share" }, el("span"), el("meter", { min: 0, max: 1, "aria-hidden": "true" }));
}

function fillShare(node, part) {
  setText(node.firstChild, `${Math.round(part * 100)}%`);
  node.lastChild.value = part;
}

// The state that it has is no button to press, and keeps the focus it may have.
function fillActions(node, server) {
  const now = server.operator?.state ?? "ready";
  for (const each of node.children) {
    setAttribute(each, "aria-pressed", each.dataset.state === now ? "true" : "false");
    setAttribute(each, "aria-label", `${each.textContent} ${server.name}`);
  }
}
