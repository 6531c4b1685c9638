// State words and what they look like: always a word, with a colour and a shape beside it.

import { el, setAttribute, setText } from "./dom.js";

const TONES = {
  UP: "ok", OPEN: "ok", READY: "ok", DOWN: "bad", STOP: "bad", FULL: "bad", DRAIN: "drain", MAINT: "maint",
  "no address": "bad", "no port": "warn", "no check": "none",
};
const ORDER = ["bad", "warn", "drain", "maint", "none", "ok"];

// ok, bad, warn (on its way), drain, maint or none.
export function tone(word) {
  if (TONES[word]) return TONES[word];
  return word.startsWith("UP") || word.startsWith("DOWN") ? "warn" : "none";
}

// The first word: DOWN 1/2 is DOWN still, UP 2/3 is UP still.
export function base(word) {
  return word.startsWith("UP ") ? "UP" : word.startsWith("DOWN ") ? "DOWN" : word;
}

export function worse(one, other) {
  return ORDER.indexOf(tone(one)) - ORDER.indexOf(tone(other));
}

export function worst(words) {
  return [...words].sort(worse)[0] ?? "no check";
}

export function chip(word, title = "") {
  return paint(el("span", { class: "state" }), word, title);
}

export function paint(node, word, title = "") {
  setText(node, word);
  setAttribute(node, "class", `state ${tone(word)}`);
  setAttribute(node, "title", title || null);
  return node;
}

// All backends of a service.
export function backendsOf(service) {
  return service.targets.flatMap((target) => target.backends);
}

// What the operator wants, in a line.
export function wish(operator) {
  if (!operator || operator.state === "ready") return "";
  const who = operator.who ? ` by ${operator.who}` : "";
  return `${operator.state}${who}${operator.reason ? `: ${operator.reason}` : ""}`;
}
