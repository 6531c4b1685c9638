// What the page knows: the latest status, the past, the events. Views read it, the feed writes it.

import { posix } from "./format.js";
import { Past } from "./past.js";

const EVENTS = 2000;

export class Model {
  constructor() {
    this.status = null;
    this.before = null;
    this.past = new Past();
    this.events = [];
    this.role = "";
    this.heardAt = 0; // of this machine's clock, milliseconds
  }

  get operates() {
    return this.role === "operate";
  }

  // The server's time now in POSIX seconds, whatever this machine's clock says.
  now() {
    return this.status ? posix(this.status.time) + (Date.now() - this.heardAt) / 1000 : Date.now() / 1000;
  }

  hearStatus(status) {
    this.role = status.role || this.role;
    this.before = this.status;
    this.status = status;
    this.heardAt = Date.now();
  }

  // exproxy is another process now: what is known is of the one before. Tells whether that is so.
  restarted() {
    if (!this.before || this.before.process.started === this.status.process.started) return false;
    this.before = null;
    this.past = new Past();
    this.events = [];
    return true;
  }

  // True where it is a new one.
  hearEvent(event) {
    if (this.events.some((known) => known.number === event.number && known.time === event.time)) return false;
    this.events.push(event);
    this.events.sort((one, other) => one.number - other.number);
    this.events.splice(0, this.events.length - EVENTS);
    return true;
  }

  // Connections a second to a backend, between the two latest statuses.
  backendRate(backend) {
    const old = this.totals().get(backend.name);
    const seconds = this.before ? posix(this.status.time) - posix(this.before.time) : 0;
    return old === undefined || seconds <= 0 ? null : Math.max(0, backend.sessions.total - old) / seconds;
  }

  totals() {
    if (this.totalsOf !== this.before) {
      this.totalsOf = this.before;
      this.kept = new Map(everyBackend(this.before).map((backend) => [backend.name, backend.sessions.total]));
    }
    return this.kept ?? new Map();
  }

  // [{name, server, was, is}]: what has another state than in the status before.
  changes() {
    if (!this.before) return [];
    const was = new Map(everyBackend(this.before).map((backend) => [backend.name, backend.state]));
    return everyBackend(this.status)
      .filter((backend) => was.has(backend.name) && was.get(backend.name) !== backend.state)
      .map((backend) => ({ name: backend.name, server: backend.server, was: was.get(backend.name), is: backend.state }));
  }
}

export function everyBackend(status) {
  return (status?.services ?? []).flatMap((service) => service.targets.flatMap((target) => target.backends));
}
