// Light, dark, or as the system has it. The choice is kept in this browser.

import { el, setAttribute } from "./dom.js";

const NEXT = { "": "dark", dark: "light", light: "" };
const NAMES = { "": "auto", dark: "dark", light: "light" };
const dark = matchMedia("(prefers-color-scheme: dark)");

export function startTheme(button, changed) {
  let chosen = localStorage.getItem("theme") ?? "";
  const show = () => {
    setAttribute(document.documentElement, "data-theme", chosen || null);
    button.replaceChildren(el("span", { class: "word" }, "Theme: "), NAMES[chosen]);
    setAttribute(button, "aria-label", `Theme: ${NAMES[chosen]}. Change to ${NAMES[NEXT[chosen]]}`);
  };
  button.addEventListener("click", () => {
    chosen = NEXT[chosen];
    localStorage.setItem("theme", chosen);
    show();
    changed();
  });
  dark.addEventListener("change", changed);
  show();
}

// The colour that a variable of the style sheet stands for now, for canvases.
export function colour(name) {
  const probe = el("span", { class: `unseen paint-${name}` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
