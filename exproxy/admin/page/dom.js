// Making and changing elements. Styles are set by class only: the page's policy forbids style attributes.

const SVG = "http://www.w3.org/2000/svg";

// el("button", {class: "quiet", type: "button", onclick: go}, "Go"): an element with attributes, listeners, children.
export function el(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else setAttribute(node, key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// false, null and undefined remove it; true makes it a bare one.
export function setAttribute(node, key, value) {
  if (value === false || value === null || value === undefined) node.removeAttribute(key);
  else if (node.getAttribute(key) !== String(value === true ? "" : value)) node.setAttribute(key, value === true ? "" : value);
}

// Touches the document only where the text differs, so that nothing flickers and selections stay.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function byId(id) {
  return document.getElementById(id);
}

// A box that scrolls by itself, also by keyboard.
export function scrolling(label, ...children) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

let made = 0;

// A label above its control.
export function field(label, control, hint = "") {
  control.id = control.id || `field-${(made += 1)}`;
  const note = hint ? el("small", { id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, note);
}

// options: [value, text] pairs.
export function select(options, attributes = {}) {
  return el("select", attributes, ...options.map(([value, text]) => el("option", { value }, text)));
}

// Gives a select other options and keeps what was chosen, where that is still there.
export function setOptions(control, options) {
  const wanted = JSON.stringify(options);
  if (control.dataset.options === wanted) return;
  const chosen = control.value;
  control.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => value === chosen)) control.value = chosen;
  control.dataset.options = wanted;
}
