// What is configured, and how to have what the file says now.

import { change, get } from "../api.js";
import { announce, ask } from "../dialog.js";
import { button, el, scrolling, setText } from "../dom.js";
import { clock, plural } from "../format.js";
import { yaml } from "../yaml.js";

export class Configuration {
  name = "configuration";
  title = "Configuration";

  constructor(model) {
    this.model = model;
    this.facts = el("p");
    this.said = el("p", { class: "trouble", role: "alert" });
    this.text = el("pre");
    this.node = el("div", {}, el("div", { class: "filters" }, this.facts, model.operates ? button("Reload…", () => this.reload(), { class: "primary" }) : null),
      this.said, scrolling("Configuration, secrets masked", this.text));
  }

  async shown() {
    try {
      setText(this.text, yaml(await get("configuration")));
      setText(this.said, "");
    } catch (error) {
      setText(this.said, error.message);
    }
  }

  update() {
    const { file, loaded, last_reload: last } = this.model.status.process.config;
    const failed = last && !last.ok ? ` The last reload, ${clock(last.time)}, was refused: ${last.error}` : "";
    setText(this.facts, `${file ?? "No file"}, read ${clock(loaded)}.${failed}`);
  }

  // First what would happen, then the question.
  async reload() {
    setText(this.said, "");
    try {
      const would = await change("POST", "reload", { dry_run: true });
      if (!would.ok) return this.refused(would.errors);
      await this.confirm(would);
    } catch (error) {
      if (error.errors?.length) return this.refused(error.errors);
      setText(this.said, error.message);
    }
  }

  async confirm({ changes, cut }) {
    const body = changes.length
      ? [el("p", { class: "counted" }, cutting(cut)), el("ul", { class: "changes" }, ...changes.map((line) => el("li", {}, line)))]
      : [el("p", {}, "The file says what is served already. Certificates are read again.")];
    const act = async () => {
      const done = await change("POST", "reload", { dry_run: false });
      if (!done.ok) throw Object.assign(new Error("refused"), { nodes: problems(done.errors) });
      return done;
    };
    const done = await ask({ title: "Reload the configuration", body, confirm: "Reload", danger: cut > 0, wide: true, act });
    if (done) announce(`Reloaded: ${plural(done.changes.length, "change")}.`);
    if (done) this.shown();
  }

  refused(errors) {
    return ask({ title: "Nothing would be changed", body: [el("p", {}, `${plural(errors.length, "error")}:`), ...problems(errors)], confirm: "Close", wide: true, act: async () => true });
  }
}

function cutting(cut) {
  return cut ? `This cuts ${plural(cut, "connection")}.` : "This cuts no connection.";
}

function problems(errors) {
  return [el("ul", { class: "problems" }, ...errors.map(({ file, line, column, path, message }) =>
    el("li", {}, el("code", {}, `${file}:${line}:${column}`), ` ${path}${path ? ": " : ""}${message}`)))];
}
