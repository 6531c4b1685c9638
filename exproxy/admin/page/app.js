// The page: puts the views together, and lets each hear what happened.

import { get, logout, Problem, remember } from "./api.js";
import { announce } from "./dialog.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { duration } from "./format.js";
import { showLogin } from "./login.js";
import { Model } from "./model.js";
import { startRouter } from "./router.js";
import { base } from "./states.js";
import { startTheme } from "./theme.js";
import { Certificates } from "./views/certificates.js";
import { Configuration } from "./views/configuration.js";
import { Events } from "./views/events.js";
import { Explain } from "./views/explain.js";
import { Overview } from "./views/overview.js";
import { Persistence } from "./views/persistence.js";
import { Plots } from "./views/plots.js";
import { Services } from "./views/services.js";
import { Sessions } from "./views/sessions.js";

const VIEWS = [Overview, Services, Plots, Sessions, Persistence, Certificates, Events, Explain, Configuration];
const LINKS = { live: "live", polling: "polling", paused: "paused", lost: "no answer" };

const model = new Model();
let views = [];
let shown = null;
let feed = null;

async function start() {
  startTheme(byId("theme"), () => views.forEach((view) => view.recolour?.()));
  try {
    await first();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return showLogin(byId("main"));
    setText(byId("stale"), `${error.message} Trying again in 5 seconds.`);
    byId("stale").hidden = false;
    setTimeout(() => location.reload(), 5000);
    return;
  }
  feed = new Feed({ status: hearStatus, event: hearEvent, history: hearHistory, link: showLink, denied: () => location.reload() });
  feed.lastEvent = model.events.at(-1)?.number ?? 0;
  feed.look();
  await fetchPast();
}

// One service after the other: a whole hour of everything at once would keep the server from its clients.
async function fetchPast() {
  for (const { name } of model.status.services) {
    await get("history", { service: name, seconds: 3600 }).then((history) => model.past.backfill(history), () => undefined);
    shown?.update?.();
  }
}

async function first() {
  hearStatus(await get("status"));
  for (const event of await get("events")) model.hearEvent(event);
  views = VIEWS.map((View) => new View(model));
  for (const view of views) byId("main").append(section(view));
  startRouter(byId("views"), views, show);
}

async function beginAgain() {
  feed.lastEvent = 0;
  for (const event of await get("events").catch(() => [])) feed.tell("event", event);
  await fetchPast();
}

function section(view) {
  view.section = el("section", { id: `view-${view.name}`, "aria-labelledby": `title-${view.name}`, hidden: true },
    el("h2", { id: `title-${view.name}`, class: "unseen" }, view.title), view.node);
  return view.section;
}

function show(view, parameters) {
  if (shown && shown !== view) {
    shown.section.hidden = true;
    shown.hidden?.();
  }
  shown = view;
  view.section.hidden = false;
  document.title = `${view.title} · exproxy ${model.status.process.node}`;
  view.shown?.(parameters);
  view.update?.();
}

// -- what the feed tells

function hearRole(status) {
  model.hearStatus(status);
  remember(status.csrf);
  setText(byId("role"), model.operates ? "operate" : "read-only");
  byId("logout").hidden = !status.csrf; // without tokens there is nothing to leave
}

function hearStatus(status) {
  if (status.role) hearRole(status);
  else model.hearStatus(status);
  if (model.restarted()) beginAgain();
  const { node, version, uptime, draining, workers } = status.process;
  setText(byId("node"), node);
  const running = workers.filter((worker) => worker.state === "READY").length;
  setText(byId("process"), `exproxy ${version}, up ${duration(uptime)}, ${running} of ${workers.length} workers ready${draining ? ", draining" : ""}`);
  tellChanges();
  shown?.update?.();
}

function tellChanges() {
  const changes = model.changes().filter((change) => base(change.was) !== base(change.is));
  const groups = new Map();
  for (const { name, server, is } of changes) {
    const key = `${server} is ${base(is)}`;
    groups.set(key, [...(groups.get(key) ?? []), name.slice(0, name.lastIndexOf("/"))]);
  }
  const lines = [...groups].map(([key, names]) => `${key} in ${names.length > 2 ? `${names.length} places` : names.join(" and ")}`);
  if (lines.length) announce(`${lines.join(". ")}.`);
}

function hearEvent(event) {
  if (model.hearEvent(event)) shown?.heardEvent?.();
}

function hearHistory(history) {
  model.past.add(history);
  shown?.heardHistory?.();
}

function showLink(word) {
  const place = byId("link");
  setText(place, LINKS[word]);
  setAttribute(place, "class", `link ${word}`);
  const lost = word === "lost";
  byId("stale").hidden = !lost;
  if (lost) setText(byId("stale"), `exproxy has not answered since ${new Date(model.heardAt).toLocaleTimeString("en-GB")}. What stands here is from then.`);
}

byId("logout").addEventListener("click", () => logout().finally(() => location.reload()));

start();
