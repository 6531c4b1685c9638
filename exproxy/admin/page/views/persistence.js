// The tables that remember which client is on which server, and their entries.

import { change, get, part } from "../api.js";
import { announce, ask } from "../dialog.js";
import { button, el, field, select, setAttribute, setOptions, setText } from "../dom.js";
import { count, duration, percent, plural } from "../format.js";
import { Table } from "../table.js";

const LIMIT = 500;

export class Persistence {
  name = "persistence";
  title = "Persistence";

  constructor(model) {
    this.model = model;
    this.groups = new Table({
      caption: "Persistence tables", key: (group) => group.name, columns: GROUPS, empty: "No service remembers its clients in a table.",
    });
    this.group = select([], { onchange: () => this.load() });
    this.server = select([["", "all"]], { onchange: () => this.load() });
    this.client = el("input", { type: "search", onchange: () => this.load(), placeholder: "192.0.2.7" });
    this.said = el("p", { class: "muted", role: "status" });
    this.entries = new Table({ caption: "Entries", key: (row) => row.key, columns: this.columns(), empty: "No entry fits." });
    this.node = el("div", {}, this.groups.node, el("h3", {}, "Entries"),
      el("div", { class: "filters" }, field("Table", this.group), field("Server", this.server), field("Client", this.client), this.said), this.entries.node);
  }

  shown() {
    this.update();
    this.load();
  }

  update() {
    const { groups, servers } = this.model.status;
    this.groups.sync(groups);
    setOptions(this.group, groups.map(({ name }) => [name, name]));
    setOptions(this.server, [["", "all"], ...servers.map(({ name }) => [name, name])]);
  }

  async load() {
    if (!this.group.value) return;
    const asked = { server: this.server.value, client: this.client.value.trim(), limit: LIMIT };
    try {
      const rows = await get(`groups/${part(this.group.value)}/entries`, asked);
      this.entries.sync(rows);
      setText(this.said, rows.length < LIMIT ? plural(rows.length, "entry").replace("entrys", "entries") : `The ${LIMIT} used last`);
    } catch (error) {
      setText(this.said, error.message);
    }
  }

  columns() {
    const columns = [
      { head: "Key", kind: "head", text: (row) => row.key },
      { head: "Server", text: (row) => row.server },
      { head: "Held by", kind: "num", title: "open connections", text: (row) => count(row.held) },
      { head: "Expires in", kind: "num", text: (row) => (row.expires_in === null ? "held" : duration(row.expires_in)) },
      { head: "Kept for", kind: "num", text: (row) => duration(row.ttl) },
    ];
    if (this.model.operates) columns.push({ head: "", build: (get_) => this.actions(get_), fill: fillActions });
    return columns;
  }

  actions(get_) {
    return el("span", { class: "actions" }, button("Move", () => this.move(get_())), button("Forget", () => this.forget(get_())));
  }

  async move(row) {
    const others = this.model.status.servers.map(({ name }) => name).filter((name) => name !== row.server);
    const to = select(others.map((name) => [name, name]), { autofocus: true });
    const act = () => change("PUT", `groups/${part(this.group.value)}/entries/${part(row.key)}`, { server: to.value });
    const done = await ask({ title: `Move ${row.key}`, body: [field("To", to, `It is on ${row.server} now.`)], confirm: "Move it", act });
    if (done) announce(`${row.key} is on ${to.value}.`);
    this.load();
  }

  async forget(row) {
    const act = () => change("DELETE", `groups/${part(this.group.value)}/entries`, undefined, { key: row.key });
    const body = [el("p", {}, "The client is scheduled anew when it comes again. Connections that are open stay.")];
    const done = await ask({ title: `Forget ${row.key}`, body, confirm: "Forget it", act });
    if (done) announce(`${row.key} is forgotten.`);
    this.load();
  }
}

const GROUPS = [
  { head: "Table", kind: "head", text: (group) => group.name },
  { head: "Services", text: (group) => group.services.join(", ") },
  { head: "Entries", kind: "num", text: (group) => count(group.entries) },
  { head: "Limit", kind: "num", text: (group) => count(group.limit) },
  { head: "Held", kind: "num", title: "by open connections", text: (group) => count(group.held) },
  { head: "By server", text: (group) => shares(group.by_server, group.entries) },
  { head: "Most connections", text: (group) => group.top_sources.slice(0, 4).map(({ host, sessions }) => `${host} (${count(sessions)})`).join(", ") },
];

function shares(byServer, all) {
  return Object.entries(byServer).map(([name, entries]) => `${name} ${count(entries)} (${percent(all ? entries / all : 0)})`).join(", ");
}

function fillActions(node, row) {
  for (const each of node.children) setAttribute(each, "aria-label", `${each.textContent} ${row.key}`);
}
