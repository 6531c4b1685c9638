// The client connections that are open now.

import { change, get, part } from "../api.js";
import { announce, ask } from "../dialog.js";
import { button, el, field, select, setAttribute, setOptions, setText } from "../dom.js";
import { bytes, count, duration, plural } from "../format.js";
import { Table } from "../table.js";

const LIMIT = 500;
const PACE = 4000;

export class Sessions {
  name = "sessions";
  title = "Sessions";

  constructor(model) {
    this.model = model;
    const again = () => this.load();
    this.service = select([["", "all"]], { onchange: again });
    this.server = select([["", "all"]], { onchange: again });
    this.client = el("input", { type: "search", onchange: again, placeholder: "192.0.2.7 or 192.0.2.0/24" });
    this.said = el("p", { class: "muted", role: "status" });
    this.table = new Table({ caption: "Sessions", key: (row) => row.id, columns: this.columns(), empty: "No session fits." });
    this.node = el("div", {}, el("div", { class: "filters" }, field("Service", this.service), field("Server", this.server),
      field("Client", this.client), this.said), this.table.node);
  }

  shown(parameters) {
    this.update();
    if (parameters.server) this.server.value = parameters.server;
    if (parameters.service) this.service.value = parameters.service;
    this.load();
    this.timer = setInterval(() => document.hidden || this.load(), PACE);
  }

  hidden() {
    clearInterval(this.timer);
  }

  update() {
    setOptions(this.service, [["", "all"], ...this.model.status.services.map(({ name }) => [name, name])]);
    setOptions(this.server, [["", "all"], ...this.model.status.servers.map(({ name }) => [name, name])]);
  }

  async load() {
    const asked = { service: this.service.value, server: this.server.value, client: this.client.value.trim(), limit: LIMIT };
    try {
      const rows = await get("sessions", asked);
      this.table.sync(rows);
      setText(this.said, rows.length < LIMIT ? plural(rows.length, "session") : `The ${LIMIT} oldest`);
    } catch (error) {
      setText(this.said, error.message);
    }
  }

  columns() {
    const columns = [
      { head: "Session", kind: "head", text: (row) => row.id },
      { head: "Service", text: (row) => row.service },
      { head: "Client", text: (row) => row.client },
      { head: "User", text: (row) => String(row.fields.user ?? "") },
      { head: "Server", text: (row) => row.servers.join(", "), hint: (row) => row.backends.join(", ") },
      { head: "State", text: (row) => row.state },
      { head: "TLS", text: (row) => row.tls ?? "" },
      { head: "Age", kind: "num", text: (row) => duration(row.age) },
      { head: "Requests", kind: "num", text: (row) => count(row.requests) },
      { head: "In", kind: "num", text: (row) => bytes(row.bytes_in) },
      { head: "Out", kind: "num", text: (row) => bytes(row.bytes_out) },
      { head: "Why there", build: () => el("a", {}, "explain"), fill: fillExplain },
    ];
    if (this.model.operates) columns.push({ head: "", build: (get_) => button("Cut", () => this.cut(get_())), fill: fillCut });
    return columns;
  }

  async cut(row) {
    const reason = el("input", { type: "text", maxlength: "200", autofocus: true, autocomplete: "off" });
    const body = [el("p", {}, `${row.client} in ${row.service}${row.servers.length ? `, on ${row.servers.join(", ")}` : ""}, loses this connection now.`),
      field("Reason", reason, "Stands in the logs.")];
    const act = () => change("DELETE", `sessions/${part(row.id)}`, undefined, { reason: reason.value });
    const done = await ask({ title: `Cut session ${row.id}`, body, confirm: "Cut it", danger: true, act });
    if (done) announce(`Session ${row.id} is cut.`);
    this.load();
  }
}

function fillExplain(node, row) {
  setAttribute(node, "href", `#explain?session=${encodeURIComponent(row.id)}`);
  setAttribute(node, "aria-label", `Explain session ${row.id}`);
}

function fillCut(node, row) {
  setAttribute(node, "aria-label", `Cut session ${row.id}`);
}
