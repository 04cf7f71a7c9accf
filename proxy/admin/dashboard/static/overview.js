// All routes at a glance, in the order of the API: those that need somebody first.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { isEnded, notice, phase, share, table, urgency, verdict } from "./parts.js";
import { ago, count, many, milliseconds, NOTHING, percent, rate, span } from "./words.js";

export const title = () => "Routes";
export const every = 3000;

const MOST_NAMED = 3; // of what a promotion lacks

let sought = "";

export async function load() {
  return ask("overview");
}

/** Which events make it worth while to ask again. */
export const concerns = (kind) => kind !== "dropped";

export function draw(data) {
  const needing = data.routes.filter((route) => route.urgency === "act").length;
  return [
    h("div", { class: "heading" }, h("h1", {}, "Routes"), h("p", { class: "quiet" }, summary(data, needing))),
    data.alarms.length ? alarms(data.alarms) : null,
    data.routes.length ? search(data.routes) : empty(),
    data.routes.length ? list(data) : null,
  ];
}

/** Narrow the list to names that have what is typed in them. */
export function input(element, redraw) {
  if (element.id !== "search") return;
  sought = element.value;
  redraw();
}

function summary(data, needing) {
  const who = needing
    ? `${many(needing, "route")} of ${count(data.routes.length)} ${needing === 1 ? "needs" : "need"} somebody`
    : many(data.routes.length, "route");
  return `${who} · ${many(data.workers, "worker")} · Understudy ${data.version}, up ${ago(data.startedAt, data.at).replace(" ago", "")}`;
}

function alarms(found) {
  return h(
    "section",
    { "aria-label": "What is not as it should be", class: "alarms", "data-key": "alarms" },
    found.map((alarm) =>
      notice(
        alarm.urgency === "act" ? "bad" : "warn",
        "",
        h("p", {}, alarm.route ? [link(alarm.route), ": "] : null, alarm.text),
        h(
          "p",
          { class: "quiet" },
          `→ ${alarm.remedy}`,
          alarm.kind === "config" ? [" · ", h("a", { href: "#/config" }, "Configuration")] : null,
        ),
      ),
    ),
  );
}

function empty() {
  return notice(
    "quiet",
    "The configuration has no routes.",
    h("p", {}, "Add one to the file; it is live as soon as it is saved."),
  );
}

function search(routes) {
  const shown = routes.filter(isSought).length;
  return h(
    "div",
    { class: "search", "data-key": "search" },
    h("label", { for: "search" }, "Search by name"),
    h("input", {
      id: "search",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      value: sought,
      placeholder: "route or version",
    }),
    h("span", { class: "quiet", role: "status" }, sought ? `${count(shown)} of ${count(routes.length)}` : ""),
  );
}

function isSought(route) {
  const wanted = sought.trim().toLowerCase();
  return !wanted || [route.name, route.stable, route.candidate].some((name) => name.toLowerCase().includes(wanted));
}

function list(data) {
  const routes = data.routes.filter(isSought);
  if (!routes.length) return notice("quiet", "No route has this in its name.", h("p", {}, `Searched for “${sought}”.`));
  const window = span(data.windowSeconds);
  const head = [
    "Route",
    "State",
    "Candidate’s weight",
    "Step",
    ["Errors", "num"],
    ["p99", "num"],
    ["Requests", "num"],
    "Why",
  ];
  const rows = routes.map((route) => ({ key: `r-${route.name}`, kind: route.urgency, cells: line(route) }));
  return h(
    "div",
    { "data-key": "list" },
    table("Routes", head, rows, "routes"),
    h(
      "p",
      { class: "foot quiet" },
      `Errors and p99: stable above, candidate below. With requests, of the last ${data.windowSeconds >= 1 ? window : "minute"}.`,
    ),
  );
}

function line(route) {
  return [
    [link(route.name), h("small", {}, versions(route))],
    h("span", { class: "state-cell" }, phase(route.phase), verdict(route), urgency(route.urgency)),
    route.phase ? share(route) : h("span", { class: "quiet" }, NOTHING),
    step(route),
    both(route, (pace) => percent(pace.errors)),
    both(route, (pace) => milliseconds(pace.p99Ms)),
    rate(route.requestsPerSecond),
    why(route),
  ];
}

function versions(route) {
  if (!route.candidate) return route.stable;
  return [
    h("span", { class: "who stable" }, route.stable),
    " → ",
    h("span", { class: "who candidate" }, route.racing.length > 1 ? route.racing.join(", ") : route.candidate),
  ];
}

function step(route) {
  if (!route.steps.length) return h("span", { class: "quiet" }, NOTHING);
  if (isEnded(route)) return h("small", {}, route.strategy);
  const at = Math.min(route.step + 1, route.steps.length);
  return [h("span", { class: "figure" }, `${at} of ${route.steps.length}`), h("small", {}, route.steps[at - 1])];
}

function both(route, figure) {
  const stable = route.stablePace ? figure(route.stablePace) : NOTHING;
  if (!route.candidate) return stable;
  const candidate = route.candidatePace ? figure(route.candidatePace) : NOTHING;
  return [h("span", { class: "two stable" }, stable), h("span", { class: "two candidate" }, candidate)];
}

function why(route) {
  const text = route.attention || route.reason;
  const lacks = [...new Set(route.missing.map((each) => each.split(":")[0]))];
  const more = lacks.length > MOST_NAMED ? ` and ${lacks.length - MOST_NAMED} more` : "";
  const missing = lacks.length ? h("small", {}, `lacks: ${lacks.slice(0, MOST_NAMED).join(", ")}${more}`) : null;
  const soon =
    route.forecastSeconds === null ? null : h("small", {}, `evidence in about ${span(route.forecastSeconds)}`);
  return [h("span", { class: "clamp", title: text }, text), missing, soon];
}

function link(name) {
  return h("a", { href: `#/routes/${encodeURIComponent(name)}` }, name);
}
