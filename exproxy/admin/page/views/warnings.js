// What an operator should know now, worst first, each with what would mend it.

import { el, setAttribute } from "../dom.js";

const HEADS = {
  down: "Down", skew: "Skew", certificate: "Certificate", "verify-none": "Not verified", workers: "Workers", reload: "Reload",
};
const BAD = ["down", "workers", "reload"];
const REMEDIES = {
  skew: ["#persistence", "See the table"],
  certificate: ["#certificates", "See the certificates"],
  reload: ["#configuration", "See the configuration"],
  down: ["#services", "See the services"],
};

export class Warnings {
  constructor(model) {
    this.model = model;
    this.node = el("ul", { class: "warnings", "aria-label": "Warnings" });
    this.known = "";
  }

  update() {
    const all = [...this.model.status.warnings].sort((one, other) => BAD.includes(other.kind) - BAD.includes(one.kind));
    const wanted = JSON.stringify(all);
    if (wanted === this.known) return;
    this.known = wanted;
    this.node.replaceChildren(...all.map(line));
    setAttribute(this.node, "hidden", all.length === 0);
  }
}

function line({ kind, text, service }) {
  const [href, words] = REMEDIES[kind] ?? [];
  return el("li", { class: BAD.includes(kind) ? "bad" : "warn" },
    el("strong", {}, HEADS[kind] ?? kind), service ? ` ${service}: ` : " ", text, " ",
    href ? el("a", { href }, words) : null);
}
