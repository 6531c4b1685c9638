// The admin API. Every answer that is no success becomes a Problem (RFC 9457).

const ROOT = "api/v1/";

let csrf = "";

export class Problem extends Error {
  constructor(said, status) {
    super(said.detail || said.title || `the answer was ${status}`);
    this.status = status;
    this.type = said.type || "about:blank";
    this.errors = said.errors || [];
  }
}

// The server took too long, or is gone.
export class Unreachable extends Error {}

// What writes have to show; the status says it.
export function remember(token) {
  csrf = token || csrf;
}

export function get(path, parameters = {}) {
  return ask("GET", ROOT + path + query(parameters));
}

export function change(method, path, body = undefined, parameters = {}) {
  return ask(method, ROOT + path + query(parameters), body);
}

export async function login(token) {
  const answer = await ask("POST", "login", { token });
  remember(answer.csrf);
}

export function logout() {
  return ask("POST", "logout", {});
}

// A path's part: names may have slashes and colons in them.
export function part(name) {
  return encodeURIComponent(name);
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function ask(method, url, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await reach(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = await read(response);
  if (!response.ok) throw new Problem(said, response.status);
  return said;
}

async function reach(url, options) {
  try {
    return await fetch(url, { ...options, credentials: "same-origin", signal: AbortSignal.timeout(20000) });
  } catch (error) {
    throw new Unreachable(`exproxy does not answer (${error.message})`);
  }
}

async function read(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return { detail: text.slice(0, 200) };
  }
}
