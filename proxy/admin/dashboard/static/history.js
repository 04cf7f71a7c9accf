// The journal, and why a decision was made: the API derives the verdict again from the evidence that was kept.

import { ask, ofRoute } from "./api.js";
import { h } from "./dom.js";
import { badge, notice, section, time } from "./parts.js";

const SHOWN = 200;

const whys = new Map();

export const title = () => "Journal";
export const every = 5000;
export const concerns = (kind) => kind === "journal";

export async function load() {
  return ask(`journal?limit=${SHOWN}`);
}

export function draw(page) {
  return [
    h(
      "div",
      { class: "heading" },
      h("h1", {}, "Journal"),
      h(
        "p",
        { class: "quiet" },
        `What happened to all routes and to the configuration, newest first: the last ${SHOWN} entries.`,
      ),
    ),
    list(page.entries, ""),
  ];
}

/** The history of a route. */
export function history(name, page) {
  return section(
    "History",
    page.error ? notice("warn", "The journal cannot be read.", h("p", {}, page.error)) : list(page.entries, name),
  );
}

function list(entries, route) {
  if (!entries.length) return h("p", { class: "quiet" }, "Nothing has happened yet.");
  return h(
    "ol",
    { class: "journal" },
    entries.map((entry) => line(entry, route)),
  );
}

function line(entry, route) {
  const name = entry.route || route;
  return h(
    "li",
    { "data-key": `e-${entry.id}` },
    h("span", { class: "when" }, time(entry.at)),
    h("span", { class: "kind" }, entry.kind),
    h(
      "span",
      { class: "what" },
      route || !entry.route
        ? null
        : [h("a", { href: `#/routes/${encodeURIComponent(entry.route)}` }, entry.route), ": "],
      entry.text,
      " ",
      h("span", { class: "actor" }, `by ${entry.actor}`),
      name && entry.details.metrics !== undefined ? why(name, entry) : null,
    ),
  );
}

function why(route, entry) {
  const found = whys.get(entry.id);
  return h(
    "details",
    { class: "why", "data-why": entry.id, "data-route": route },
    h("summary", {}, "Why?"),
    found === undefined
      ? h("p", { class: "quiet" }, "Deriving the verdict again from its evidence …")
      : found.error
        ? notice("warn", "", h("p", {}, found.error))
        : explained(found),
  );
}

/** Whoever opens a line is told why. */
export async function toggled(element, redraw) {
  const id = Number(element.dataset.why);
  if (!element.open || whys.has(id)) return;
  try {
    whys.set(id, await ask(ofRoute(element.dataset.route, `/why?entry=${id}`)));
  } catch (error) {
    whys.set(id, { error: error.message });
  }
  redraw();
}

function explained(why) {
  const agrees =
    why.agrees === null
      ? badge("wait", "○", "cannot be derived again")
      : why.agrees
        ? badge("good", "✓", "follows from its evidence")
        : badge("bad", "✕", "differs from what its evidence gives");
  const intact = why.intact ? badge("good", "✓", "intact") : badge("bad", "!", "changed since it was written");
  return [
    h("p", {}, agrees, " ", intact),
    why.note ? h("p", { class: "quiet" }, why.note) : null,
    why.differences.length
      ? h(
          "ul",
          {},
          why.differences.map((each) => h("li", {}, `${each.what}: kept ${each.kept}, now ${each.derived}`)),
        )
      : null,
    why.verdict?.reason ? h("p", {}, why.verdict.reason) : null,
    h(
      "ul",
      {},
      (why.verdict?.metrics ?? []).filter((metric) => metric.text).map((metric) => h("li", {}, metric.text)),
    ),
  ];
}
