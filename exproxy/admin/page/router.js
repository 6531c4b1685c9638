// Which view is shown: the address's fragment says it, #sessions?server=ex1.

import { el, setAttribute } from "./dom.js";

export function startRouter(nav, views, show) {
  const links = new Map(views.map((view) => [view, el("a", { href: `#${view.name}` }, view.title)]));
  nav.replaceChildren(...links.values());
  const go = () => {
    const [name, query] = location.hash.slice(1).split("?");
    const view = views.find((each) => each.name === name) ?? (name ? null : views[0]);
    if (!view) return; // a place within the page
    for (const [each, link] of links) setAttribute(link, "aria-current", each === view ? "page" : null);
    show(view, Object.fromEntries(new URLSearchParams(query ?? "")));
  };
  window.addEventListener("hashchange", go);
  go();
  if (![...links.values()].some((link) => link.hasAttribute("aria-current"))) location.hash = `#${views[0].name}`;
}
