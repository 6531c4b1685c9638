// Who are you? A token, once; then a cookie that scripts cannot read.

import { login } from "./api.js";
import { el, field, setText } from "./dom.js";

export function showLogin(main) {
  const token = el("input", { type: "password", autocomplete: "current-password", required: true });
  const trouble = el("p", { class: "trouble", role: "alert" });
  const form = el("form", { class: "login" }, el("h2", {}, "Log in"),
    field("Token", token, "One of admin: tokens in the configuration."), trouble,
    el("button", { type: "submit", class: "primary" }, "Log in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await login(token.value);
      location.reload();
    } catch (error) {
      setText(trouble, error.message);
      token.select();
    }
  });
  main.replaceChildren(form);
  token.focus();
}
