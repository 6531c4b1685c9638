// Why a client goes where it goes: one that is there, or one that might come.

import { change } from "../api.js";
import { chip } from "../states.js";
import { el, field, scrolling, select, setOptions, setText } from "../dom.js";
import { count, percent } from "../format.js";
import { Table } from "../table.js";

export class Explain {
  name = "explain";
  title = "Explain";

  constructor(model) {
    this.model = model;
    this.controls = controls();
    this.trouble = el("p", { class: "trouble", role: "alert" });
    this.answer = el("div", { class: "answer", "aria-live": "polite" });
    const { session, service, source, user, method, host, path, headers } = this.controls;
    const form = el("form", { class: "explain" },
      field("Session", session, "One that is open now; or a client that might come:"),
      field("Service", service), field("From", source), field("User", user),
      field("Method", method), field("Host", host), field("Path", path),
      field("Headers", headers, "One a line. They are not kept."),
      el("div", { class: "buttons" }, el("button", { type: "submit", class: "primary" }, "Explain")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.node = el("div", { class: "two" }, form, el("div", {}, this.trouble, this.answer));
  }

  shown(parameters) {
    this.update();
    if (parameters.session) {
      this.controls.session.value = parameters.session;
      this.ask();
    }
  }

  update() {
    setOptions(this.controls.service, this.model.status.services.map(({ name }) => [name, name]));
  }

  async ask() {
    try {
      show(this.answer, await change("POST", "explain", question(this.controls)));
      setText(this.trouble, "");
    } catch (error) {
      this.answer.replaceChildren();
      setText(this.trouble, error.message);
    }
  }
}

function controls() {
  return {
    session: el("input", { type: "text", placeholder: "0-123", autocomplete: "off" }),
    service: select([]),
    source: el("input", { type: "text", placeholder: "192.0.2.7", autocomplete: "off" }),
    user: el("input", { type: "text", autocomplete: "off" }),
    method: el("input", { type: "text", value: "GET" }),
    host: el("input", { type: "text", placeholder: "outlook.example.com", autocomplete: "off" }),
    path: el("input", { type: "text", value: "/" }),
    headers: el("textarea", { rows: 3, placeholder: "User-Agent: Microsoft Office/16.0", spellcheck: "false" }),
  };
}

function question({ session, service, source, user, method, host, path, headers }) {
  if (session.value.trim()) return { session: session.value.trim() };
  const client = { source: source.value.trim(), user: user.value.trim(), method: method.value.trim(), host: host.value.trim(), path: path.value.trim() };
  const lines = headers.value.split("\n").filter((line) => line.includes(":"));
  client.headers = lines.map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]);
  return { service: service.value, client };
}

function show(place, explanation) {
  const { server, reason, persistence, facts, known, claims, backends, notes, answer } = explanation;
  const backendTable = new Table({ caption: "Backends", key: (row) => row.name, columns: BACKENDS, mark: (row) => (row.taken ? "row taken" : "") });
  backendTable.sync(backends);
  const knownTable = new Table({ caption: "Known by", key: (row) => `${row.kind} ${row.key} ${row.facts}`, columns: KNOWN, mark: (row) => (row.decides ? "row taken" : ""), empty: "The persistence knows nothing of it." });
  knownTable.sync(known);
  place.replaceChildren(
    el("p", { class: "verdict" }, el("strong", {}, server ?? "Nobody"), persistence ? ` (${persistence})` : "", `: ${reason}`),
    answer ? el("p", {}, `exproxy itself answers: ${answer}`) : "",
    pairs([["Where", where(explanation)], ["Table", explanation.table ?? "none"], ...Object.entries(facts).filter(([, value]) => value), ["Would be kept", claims.join(", ") || "nothing"]]),
    el("h3", {}, "Known by"), knownTable.node,
    el("h3", {}, "Backends"), backendTable.node,
    ...notes.map((note) => el("p", { class: "muted" }, note)),
    ...(explanation.record ? [el("h3", {}, "What the log says"), scrolling("Record", el("pre", {}, JSON.stringify(explanation.record, null, 2)))] : []));
}

function where({ service, route, target }) {
  return `${target ?? service}${route ? `, by the route ${route}` : ""}`;
}

function pairs(rows) {
  return el("dl", { class: "pairs" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
}

const KNOWN = [
  { head: "By", kind: "head", text: (row) => row.kind },
  { head: "Key", text: (row) => row.key ?? "" },
  { head: "Made of", text: (row) => row.facts.join(", ") },
  { head: "Server", text: (row) => row.server ?? "–" },
  { head: "Decides", text: (row) => (row.decides ? "yes" : "") },
  { head: "Why", text: (row) => row.why },
];
const BACKENDS = [
  { head: "Backend", kind: "head", text: (row) => row.name },
  { head: "State", build: () => el("span"), fill: (node, row) => node.replaceChildren(chip(row.state)) },
  { head: "Taken", text: (row) => (row.taken ? "taken" : "") },
  { head: "Place", kind: "num", title: "in the scheduling's order for a new client", text: (row) => (row.place === null ? "–" : String(row.place)) },
  { head: "Weight", kind: "num", text: (row) => String(row.weight) },
  { head: "Ramp", kind: "num", text: (row) => percent(row.ramp) },
  { head: "Links", kind: "num", text: (row) => count(row.links) },
  { head: "Load", kind: "num", text: (row) => count(row.load) },
  { head: "Limit", kind: "num", text: (row) => count(row.limit) },
  { head: "Why", text: (row) => row.why },
];
