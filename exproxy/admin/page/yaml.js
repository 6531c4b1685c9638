// JSON values as YAML, for reading.

const PLAIN = /^[A-Za-z0-9_.\/*][\w .\/:@*,+-]*$/;

export function yaml(value, indent = "") {
  if (Array.isArray(value)) return list(value, indent);
  if (value && typeof value === "object") return mapping(value, indent);
  return scalar(value);
}

function list(values, indent) {
  if (values.every((value) => value === null || typeof value !== "object")) return `[${values.map(scalar).join(", ")}]`;
  return values.map((value) => `\n${indent}- ${yaml(value, `${indent}  `).trimStart()}`).join("");
}

function mapping(value, indent) {
  const entries = Object.entries(value);
  if (!entries.length) return "{}";
  const lines = entries.map(([key, inner]) => {
    const text = yaml(inner, `${indent}  `);
    return `${indent}${key}:${text.startsWith("\n") ? text : ` ${text}`}`;
  });
  return `${indent ? "\n" : ""}${lines.join("\n")}`;
}

function scalar(value) {
  if (typeof value !== "string") return String(value);
  return PLAIN.test(value) && !/: |^\d+$|^(true|false|null|yes|no)$/.test(value) ? value : JSON.stringify(value);
}
