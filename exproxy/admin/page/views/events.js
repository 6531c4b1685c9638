// The event log: what happened to the service, the newest first.

import { el, field, select, setText } from "../dom.js";
import { clock, plural } from "../format.js";
import { Table } from "../table.js";

const LEVELS = ["debug", "info", "warn", "error", "critical"];
const SHOWN = 300;

export class Events {
  name = "events";
  title = "Events";

  constructor(model) {
    this.model = model;
    this.text = el("input", { type: "search", oninput: () => this.update(), placeholder: "server, service, word" });
    this.level = select(LEVELS.map((level) => [level, level === "debug" ? "all" : `${level} and worse`]), { onchange: () => this.update() });
    this.level.value = "info";
    this.said = el("p", { class: "muted" });
    this.table = new Table({
      caption: "Events", key: (event) => `${event.number} ${event.time}`, columns: COLUMNS, mark: (event) => (rank(event) >= 2 ? "row warn" : ""), empty: "No event fits.",
    });
    this.node = el("div", {}, el("div", { class: "filters" }, field("Filter", this.text), field("Level", this.level), this.said), this.table.node);
  }

  update() {
    const sought = this.text.value.trim().toLowerCase();
    const least = LEVELS.indexOf(this.level.value);
    const found = this.model.events.filter((event) => rank(event) >= least && `${event.text} ${event.source}`.toLowerCase().includes(sought));
    this.table.sync(found.slice(-SHOWN).reverse());
    setText(this.said, found.length > SHOWN ? `The latest ${SHOWN} of ${plural(found.length, "event")}` : plural(found.length, "event"));
  }

  heardEvent() {
    this.update();
  }
}

function rank(event) {
  return LEVELS.indexOf(event.level);
}

const TONES = { warn: "tone warn", error: "tone bad", critical: "tone bad" };
const COLUMNS = [
  { head: "Time", text: (event) => clock(event.time), hint: (event) => event.time },
  { head: "Level", text: (event) => event.level, tone: (event) => TONES[event.level] ?? "" },
  { head: "Event", kind: "head", text: (event) => event.text },
  { head: "From", text: (event) => event.source },
];
