// The last hour, as the server tells it: numbers for each step, and the changes of states.

import { posix } from "./format.js";

const HOUR = 3600;
const PLAIN = ["sessions", "rate", "requests", "bytes_in", "bytes_out", "p50", "p95", "p99"];
export const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

export class Past {
  constructor() {
    this.step = 2;
    this.times = [];
    this.services = new Map(); // name → {whole: Series, servers: Map(name → Series)}
    this.changes = new Map(); // backend → [{time, state, reason}], oldest first
  }

  // Put what is newer behind what is there; what is there already is left alone.
  add(history) {
    this.step = history.step;
    const last = this.times.at(-1) ?? -Infinity;
    const from = history.times.findIndex((time) => time > last);
    if (from >= 0) this.append(history, from);
    for (const change of history.changes) this.note(change);
    this.forget();
  }

  // Put what is older before what is there; where a step is there already, its numbers are put in.
  backfill(history) {
    const first = this.times[0] ?? Infinity;
    const older = history.times.filter((time) => time < first);
    this.times.unshift(...older);
    for (const column of this.everyColumn()) column.unshift(...older.map(() => null));
    const places = new Map(this.times.map((time, at) => [time, at]));
    for (const service of history.services) {
      const kept = this.entry(service.name);
      put(kept.whole, service.whole, history.times, places);
      for (const [name, one] of Object.entries(service.servers)) {
        put(entry(kept.servers, name, () => series(this.times.length)), one, history.times, places);
      }
    }
    for (const change of history.changes) this.note(change);
  }

  entry(name) {
    return entry(this.services, name, () => ({ whole: series(this.times.length), servers: new Map() }));
  }

  append(history, from) {
    const before = this.times.length;
    this.times.push(...history.times.slice(from));
    for (const service of history.services) {
      const kept = entry(this.services, service.name, () => ({ whole: series(before), servers: new Map() }));
      extend(kept.whole, service.whole, from);
      for (const [name, one] of Object.entries(service.servers)) {
        extend(entry(kept.servers, name, () => series(before)), one, from);
      }
    }
    for (const each of this.all()) fill(each, this.times.length);
  }

  note(change) {
    const kept = entry(this.changes, change.backend, () => []);
    const time = posix(change.time);
    if (kept.some((known) => known.time === time)) return;
    kept.push({ time, state: change.state, reason: change.reason });
    kept.sort((one, other) => one.time - other.time);
  }

  *all() {
    for (const service of this.services.values()) yield* [service.whole, ...service.servers.values()];
  }

  *everyColumn() {
    for (const each of this.all()) yield* columns(each);
  }

  forget() {
    const surplus = this.times.findIndex((time) => time >= (this.times.at(-1) ?? 0) - HOUR);
    if (surplus <= 0) return;
    this.times.splice(0, surplus);
    for (const column of this.everyColumn()) column.splice(0, surplus);
  }

  // {times, whole, servers} of one service, or of all together ("").
  of(name, seconds) {
    const from = Math.max(0, this.times.findIndex((time) => time >= (this.times.at(-1) ?? 0) - seconds));
    const chosen = name ? [this.services.get(name)].filter(Boolean) : [...this.services.values()];
    const servers = new Map();
    for (const service of chosen) {
      for (const [server, one] of service.servers) entry(servers, server, () => []).push(one);
    }
    return {
      times: this.times.slice(from),
      whole: together(chosen.map((service) => service.whole), from, this.times.length),
      servers: new Map([...servers].map(([server, all]) => [server, together(all, from, this.times.length)])),
    };
  }
}

function entry(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

function series(length) {
  const made = { answers: {} };
  for (const key of PLAIN) made[key] = new Array(length).fill(null);
  for (const key of CLASSES) made.answers[key] = new Array(length).fill(null);
  return made;
}

function columns(one) {
  return [...PLAIN.map((key) => one[key]), ...CLASSES.map((key) => one.answers[key])];
}

function extend(kept, more, from) {
  for (const key of PLAIN) kept[key].push(...more[key].slice(from));
  for (const key of CLASSES) kept.answers[key].push(...(more.answers[key] ?? []).slice(from));
}

function put(kept, more, times, places) {
  for (const [at, time] of times.entries()) {
    const place = places.get(time);
    for (const key of PLAIN) kept[key][place] = more[key][at] ?? null;
    for (const key of CLASSES) kept.answers[key][place] = more.answers[key]?.[at] ?? null;
  }
}

// A service that is gone, or that came later, has no numbers for some steps.
function fill(one, length) {
  for (const column of columns(one)) while (column.length < length) column.push(null);
}

// Sums; of percentiles the worst, since they cannot be added.
function together(all, from, to) {
  const made = series(0);
  for (const key of PLAIN) made[key] = combine(all.map((one) => one[key]), from, to, key.startsWith("p") ? Math.max : add);
  for (const key of CLASSES) made.answers[key] = combine(all.map((one) => one.answers[key]), from, to, add);
  return made;
}

function add(one, other) {
  return one + other;
}

function combine(lists, from, to, how) {
  const made = [];
  for (let at = from; at < to; at += 1) {
    let value = null;
    for (const list of lists) {
      if (list[at] !== null && list[at] !== undefined) value = value === null ? list[at] : how(value, list[at]);
    }
    made.push(value);
  }
  return made;
}
