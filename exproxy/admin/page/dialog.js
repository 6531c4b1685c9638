// Questions: a native dialog keeps the focus inside and gives it back; Escape is no.

import { button, el, setText } from "./dom.js";

// Shows one. body: nodes; confirm: the text of the button that does it; act() → Promise: the dialog stays,
// with the words of the error, where it fails. Resolves to what act gave, or null where nothing was done.
export function ask({ title, body, confirm, act, danger = false, wide = false }) {
  return new Promise((resolve) => {
    const trouble = el("div", { class: "trouble", role: "alert" });
    const yes = el("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
    const no = button("Cancel", () => box.close());
    const form = el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, title), ...body, trouble,
      el("div", { class: "buttons" }, no, yes));
    const box = el("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : null }, form);
    let done = null;
    const controls = { trouble, yes, box };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(controls, act).then((value) => {
        if (value === undefined) return;
        done = value;
        box.close();
      });
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(done);
    });
    document.body.append(box);
    box.showModal();
  });
}

// Undefined where it failed; the dialog then says why.
async function attempt({ trouble, yes }, act) {
  yes.disabled = true;
  trouble.replaceChildren();
  try {
    return (await act()) ?? null;
  } catch (error) {
    trouble.replaceChildren(...(error.nodes ?? [el("p", {}, error.message)]));
    return undefined;
  } finally {
    yes.disabled = yes.dataset.locked !== undefined;
  }
}

// Something happened that is worth a word, for ears; eyes see it in the tables.
export function announce(text) {
  const place = document.getElementById("announced");
  setText(place, "");
  requestAnimationFrame(() => setText(place, text));
}
