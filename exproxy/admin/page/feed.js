// What happens, as it happens: one stream of server-sent events, and polling while there is none.
//
// A browser allows six connections to a server over HTTP/1.1, for all tabs together; so there is one stream
// for everything, and none while the page is hidden.

import { get, Problem } from "./api.js";

const STREAM = "api/v1/events";
const POLL = 2000;
const PATIENCE = 8000; // without a word on the stream, milliseconds
const FIRST_RETRY = 4000;
const LAST_RETRY = 60000;

export class Feed {
  // told: {status(value), event(value), history(value), link(word), denied()}; link is live, polling, paused or lost.
  constructor(told) {
    this.told = told;
    this.source = null;
    this.retry = FIRST_RETRY;
    this.timers = {};
    this.lastEvent = 0;
    document.addEventListener("visibilitychange", () => this.look());
    window.addEventListener("pagehide", () => this.pause());
  }

  // Begin, or go on after a pause.
  look() {
    if (document.hidden) return this.pause();
    if (this.source === null) {
      this.poll();
      this.open();
    }
  }

  pause() {
    this.close();
    this.stop("poll", "open");
    this.told.link("paused");
  }

  open() {
    this.stop("open");
    this.source = new EventSource(`${STREAM}?since=${this.lastEvent}`);
    this.source.addEventListener("error", () => this.failed());
    for (const kind of ["status", "event", "history"]) {
      this.source.addEventListener(kind, (message) => this.heard(kind, JSON.parse(message.data)));
    }
    this.watch();
  }

  heard(kind, value) {
    this.retry = FIRST_RETRY;
    this.stop("poll");
    this.told.link("live");
    this.watch();
    this.tell(kind, value);
  }

  tell(kind, value) {
    if (kind === "event") this.lastEvent = Math.max(this.lastEvent, value.number);
    this.told[kind](value);
  }

  watch() {
    this.after("watch", PATIENCE, () => this.failed());
  }

  // The stream is gone, or was never there: poll, and try it again later and later.
  failed() {
    this.close();
    if (document.hidden) return;
    if (this.timers.poll === undefined) this.poll();
    this.after("open", this.retry, () => this.open());
    this.retry = Math.min(this.retry * 2, LAST_RETRY);
  }

  close() {
    this.stop("watch");
    this.source?.close();
    this.source = null;
  }

  async poll() {
    this.after("poll", POLL, () => this.poll());
    try {
      await this.fetchAll();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return this.denied();
      if (this.timers.poll !== undefined) this.told.link("lost");
    }
  }

  async fetchAll() {
    const status = await get("status");
    if (this.timers.poll === undefined) return;
    this.told.link("polling");
    this.tell("status", status);
    this.tell("history", await get("history", { seconds: 10 }));
    for (const event of await get("events", { since: this.lastEvent })) this.tell("event", event);
  }

  denied() {
    this.pause();
    this.told.denied();
  }

  after(name, milliseconds, call) {
    this.stop(name);
    this.timers[name] = setTimeout(() => {
      delete this.timers[name];
      call();
    }, milliseconds);
  }

  stop(...names) {
    for (const name of names) {
      clearTimeout(this.timers[name]);
      delete this.timers[name];
    }
  }
}
