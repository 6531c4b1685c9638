// What an operator does to servers: the dialogs, and the requests they end in.

import { change, part, Problem } from "./api.js";
import { announce, ask } from "./dialog.js";
import { el, field, select, setAttribute, setText } from "./dom.js";
import { plural } from "./format.js";
import { backendsOf } from "./states.js";

const MEANINGS = {
  drain: "Nobody new comes; clients that are bound to it stay until they leave.",
  maint: "Nobody is sent there, its checks stop, and open connections run out or are cut.",
  ready: "It takes clients again, little by little where a slow ramp is configured.",
};
const VERBS = { drain: "Drain", maint: "Maintenance for", ready: "Make ready:" };
const NEVER = ["", "never"];
const UNTIL = [["", "not by itself"], ["1800", "in 30 minutes"], ["3600", "in an hour"], ["14400", "in 4 hours"], ["43200", "in 12 hours"]];
const CUT = [NEVER, ["60", "after a minute"], ["300", "after 5 minutes"], ["900", "after 15 minutes"], ["3600", "after an hour"]];
const KNOWN = [["", "as configured"], ["keep", "may go on coming"], ["move", "move with their next connection"]];

// Sessions that a server, or its part of one service, carries now.
export function carried(status, server, service) {
  const chosen = status.services.filter((each) => !service || each.name === service);
  const backends = chosen.flatMap(backendsOf).filter((backend) => backend.server === server);
  return { sessions: backends.reduce((sum, backend) => sum + backend.sessions.current, 0), services: chosen.length };
}

// Asks, and does it. service: "" for all.
export async function operate(model, { server, service = "", state }) {
  const controls = questions(state);
  const force = el("input", { type: "checkbox", id: "force" });
  const label = service ? `${service}/${server}` : server;
  const counted = el("p", { class: "counted" });
  const tell = () => setText(counted, concerned(carried(model.status, server, service), service));
  tell();
  const timer = setInterval(tell, 1000);
  const send = () => request({ server, service, state, controls, force });
  const body = [counted, el("p", { class: "muted" }, MEANINGS[state]), ...controls.fields];
  try {
    const done = await ask({ title: `${VERBS[state]} ${label}`, body, confirm: `${VERBS[state].replace(":", "")} ${label}`, danger: state === "maint", act: send });
    if (done) announce(`${label} is set to ${state}.`);
  } finally {
    clearInterval(timer);
  }
}

function concerned({ sessions, services }, service) {
  const where = service ? "" : ` in ${plural(services, "service")}`;
  return `This concerns ${plural(sessions, "connection")}${where}.`;
}

function questions(state) {
  const reason = el("input", { type: "text", maxlength: "200", autofocus: true, autocomplete: "off", placeholder: "updates, KB5066366" });
  const until = select(UNTIL);
  const timeout = select(CUT);
  const drain = select(KNOWN);
  const fields = [field("Reason", reason, "Stands in the log, and beside the server.")];
  if (state !== "ready") fields.push(field("Ready again", until), field("Cut what is left", timeout));
  if (state === "drain") fields.push(field("Clients that are bound to it", drain));
  return { fields, reason, until, timeout, drain };
}

function request({ server, service, state, controls, force }) {
  const { reason, until, timeout, drain } = controls;
  const body = { state, reason: reason.value };
  if (until.value) body.until = new Date(Date.now() + 1000 * until.value).toISOString();
  if (timeout.value) body.timeout = Number(timeout.value);
  if (drain.value) body.drain = drain.value;
  if (force.checked) body.force = true;
  return change("PUT", `${place(server, service)}/state`, body).catch((error) => {
    throw isLast(error) ? lastOne(error, force) : error;
  });
}

function place(server, service) {
  return service ? `backends/${part(service)}/${part(server)}` : `servers/${part(server)}`;
}

function isLast(error) {
  return error instanceof Problem && error.status === 409 && /last-usable/.test(error.type);
}

// The second question: the button waits until it is answered.
function lastOne(error, force) {
  force.checked = false;
  const yes = document.querySelector("dialog button[type=submit]");
  lock(yes, true);
  force.onchange = () => lock(yes, !force.checked);
  error.nodes = [
    el("p", {}, el("strong", {}, "Nobody would be left. "), error.message),
    el("p", {}, force, " ", el("label", { for: "force" }, "Refuse clients if it must be: do it all the same")),
  ];
  return error;
}

function lock(button, locked) {
  setAttribute(button, "data-locked", locked);
  button.disabled = locked;
}

export async function reweigh(model, { server, service, weight }) {
  const value = el("input", { type: "number", min: "0", max: "256", value: weight, autofocus: true, required: true });
  const body = [field("Weight", value, "0 to 256; 0: nobody new. Until the next reload.")];
  const send = () => change("PUT", `${place(server, service)}/weight`, { weight: Number(value.value) });
  const label = service ? `${service}/${server}` : server;
  const done = await ask({ title: `Weight of ${label}`, body, confirm: "Set the weight", act: send });
  if (done) announce(`${label} has the weight ${value.value}.`);
}
