// A table whose rows stay where they are while their cells change: focus, scrolling and selections survive.

import { el, scrolling, setAttribute, setText } from "./dom.js";

// A column: {head, title, kind: "text" | "num" | "head", group, width} and one of
//   text(row) → string; with tone(row) → class and hint(row) → title where wanted
//   build(get) → node, made once, with fill(node, row): get() is the row as it is now.
// width: in characters; where the columns have them, tables with the same columns stand below each other.
// Rows are any values; key(row) is unique. heading(row) → text makes a row a heading over the rows below it.
export class Table {
  constructor({ caption, columns, key, heading = () => null, mark = () => "", empty = "Nothing to show." }) {
    this.columns = columns;
    this.key = key;
    this.heading = heading;
    this.mark = mark;
    this.rows = new Map();
    this.body = el("tbody");
    this.empty = el("p", { class: "empty" }, empty);
    this.table = el("table", {}, el("caption", { class: "unseen" }, caption), widths(columns), head(columns), this.body);
    if (columns.some((column) => column.width)) fix(this.table, columns);
    this.node = el("div", {}, scrolling(caption, this.table), this.empty);
  }

  sync(rows) {
    const seen = new Set();
    let place = this.body.firstChild;
    for (const row of rows) {
      const line = this.line(row);
      seen.add(this.key(row));
      if (line.node === place) place = place.nextSibling;
      else this.body.insertBefore(line.node, place);
    }
    for (const [key, line] of this.rows) if (!seen.has(key)) this.drop(key, line);
    setAttribute(this.empty, "hidden", rows.length > 0);
    setAttribute(this.table.parentNode, "hidden", rows.length === 0);
  }

  drop(key, line) {
    line.node.remove();
    this.rows.delete(key);
  }

  line(row) {
    const key = this.key(row);
    let line = this.rows.get(key);
    if (!line) this.rows.set(key, (line = this.make(row)));
    line.row = row;
    line.fill();
    setAttribute(line.node, "class", this.mark(row) || null);
    return line;
  }

  make(row) {
    const heading = this.heading(row);
    if (heading !== null) return this.makeHeading();
    const line = { row, node: el("tr") };
    const fills = this.columns.map((column) => cell(column, line));
    line.fill = () => fills.forEach((fill) => fill());
    return line;
  }

  makeHeading() {
    const text = el("th", { colspan: this.columns.length, scope: "rowgroup" });
    const line = { node: el("tr", {}, text) };
    line.fill = () => setText(text, this.heading(line.row));
    return line;
  }
}

function widths(columns) {
  return el("colgroup", {}, ...columns.map((column) => {
    const node = el("col");
    if (column.width) node.style.width = `${column.width}ch`;
    return node;
  }));
}

function fix(table, columns) {
  table.className = "fixed";
  table.style.minWidth = `${columns.reduce((sum, column) => sum + column.width, 0)}ch`;
}

function head(columns) {
  const names = columns.map((column) =>
    el("th", { scope: "col", class: column.kind === "num" ? "num" : null, title: column.title }, column.head));
  const rows = [el("tr", {}, ...names)];
  if (columns.some((column) => column.group)) rows.unshift(el("tr", { class: "groups" }, ...groups(columns)));
  return el("thead", {}, ...rows);
}

function groups(columns) {
  const spans = [];
  for (const column of columns) {
    const group = column.group ?? "";
    if (spans.length && spans.at(-1).group === group) spans.at(-1).span += 1;
    else spans.push({ group, span: 1 });
  }
  return spans.map(({ group, span }) =>
    group ? el("th", { scope: "colgroup", colspan: span }, group) : el("td", { colspan: span }));
}

// Puts a cell into the line and returns what brings it up to date.
function cell(column, line) {
  const node = column.kind === "head" ? el("th", { scope: "row" }) : el("td", { class: column.kind === "num" ? "num" : null });
  line.node.append(node);
  if (column.build) {
    const made = column.build(() => line.row);
    node.append(made);
    return () => column.fill(made, line.row);
  }
  return () => {
    setText(node, column.text(line.row));
    if (column.tone) setAttribute(node, "class", `${column.kind ?? "text"} ${column.tone(line.row)}`);
    if (column.hint) setAttribute(node, "title", column.hint(line.row) || null);
  };
}
