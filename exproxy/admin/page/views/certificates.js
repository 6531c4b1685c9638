// The certificates that services show, and the days they have left.

import { get } from "../api.js";
import { el, setText } from "../dom.js";
import { day } from "../format.js";
import { Table } from "../table.js";

export class Certificates {
  name = "certificates";
  title = "Certificates";

  constructor() {
    this.said = el("p", { class: "trouble", role: "alert" });
    this.table = new Table({
      caption: "Certificates", key: (row) => `${row.service} ${row.file} ${row.sha256}`, columns: COLUMNS, empty: "No service shows a certificate.",
    });
    this.node = el("div", {}, this.said, this.table.node);
  }

  async shown() {
    try {
      const rows = await get("certificates");
      this.table.sync(rows.sort((one, other) => one.days_left - other.days_left));
      setText(this.said, "");
    } catch (error) {
      setText(this.said, error.message);
    }
  }
}

function urgency({ days_left: days }) {
  return days < 7 ? "tone bad" : days < 30 ? "tone warn" : "";
}

function left({ days_left: days }) {
  return days < 0 ? `expired ${Math.ceil(-days)} days ago` : `${Math.floor(days)} days`;
}

const COLUMNS = [
  { head: "Service", kind: "head", text: (row) => row.service },
  { head: "Left", kind: "num", text: left, tone: urgency },
  { head: "Until", text: (row) => day(row.not_after), hint: (row) => row.not_after },
  { head: "Subject", text: (row) => row.subject },
  { head: "Names", text: (row) => row.names.join(", ") },
  { head: "Issuer", text: (row) => row.issuer },
  { head: "Key", text: (row) => row.key },
  { head: "File", text: (row) => row.file },
  { head: "SHA-256", text: (row) => `${row.sha256.slice(0, 16)}…`, hint: (row) => row.sha256 },
];
