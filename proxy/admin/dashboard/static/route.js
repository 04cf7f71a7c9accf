// One route: where its rollout is, what the evidence says, how both versions go, and what happened.

import { ask, ofRoute } from "./api.js";
import { buttons } from "./commands.js";
import { figure } from "./charts.js";
import { h } from "./dom.js";
import { history } from "./history.js";
import { evidence } from "./metrics.js";
import { isEnded, notice, phase, section, share, time, verdict } from "./parts.js";
import { versions } from "./versions.js";
import { ago, count, percent, plain, span, weight } from "./words.js";

export const title = ([name]) => name;
export const every = 2000;
const COURSE_MS = 5000; // the API takes a point every five seconds

let course = { name: "", at: 0, document: null };

export async function load([name]) {
  const isFresh = course.name === name && performance.now() - course.at < COURSE_MS;
  const asked = isFresh ? course.document : ask(ofRoute(name, "/course"));
  const [route, entries, points, status] = await Promise.all([
    ask(ofRoute(name)),
    ask(ofRoute(name, "/history?limit=100")).catch((error) => ({ error: error.message, entries: [] })),
    asked,
    ask("status"),
  ]);
  if (!isFresh) course = { name, at: performance.now(), document: points };
  return { route, history: entries, course: points, backends: status.backends, at: Date.now() / 1000 };
}

export const concerns = (kind, data, [name]) => kind === "config" || data.name === name || data.route === name;

export function draw(data, _arguments, me) {
  const { route } = data;
  return [
    heading(route, me, data.at),
    route.error ? notice("bad", "Evidence is not read, and nothing is decided.", h("p", {}, route.error)) : null,
    route.ratio?.flagged
      ? notice("bad", "The comparison is unreliable: traffic is not split as configured.", h("p", {}, route.ratio.text))
      : null,
    route.phase
      ? standing(route, data.at)
      : notice("quiet", "This route has no rollout.", h("p", {}, "Its weights are those of the file.")),
    route.steps.length ? steps(route) : null,
    section("Over time", figure(route, data.course)),
    route.phase ? evidence(route) : null,
    ...versions(route, data.backends),
    history(route.name, data.history),
  ];
}

function heading(route, me, now) {
  const since = route.endedAt ?? route.stageStartedAt;
  return h(
    "div",
    { class: "heading route", "data-key": "heading" },
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Routes")),
    h("h1", {}, route.name, " ", phase(route.phase), " ", verdict(route)),
    route.phase
      ? h(
          "p",
          { class: "lead" },
          h("span", { class: "who stable" }, route.stable),
          " → ",
          h("span", { class: "who candidate" }, names(route)),
          h(
            "span",
            { class: "quiet" },
            ` · ${route.strategy} · attempt ${route.attempt}`,
            since
              ? ` · ${route.endedAt ? "ended" : "in this stage for"} ${route.endedAt ? ago(since, now) : span(now - since)}`
              : "",
          ),
        )
      : h("p", { class: "lead quiet" }, route.match.join(" or ")),
    buttons(route, me),
    h(
      "p",
      { class: "downloads" },
      "Report: ",
      ["markdown", "html", "json"].map((form, place) => [
        place ? " · " : "",
        h(
          "button",
          { type: "button", class: "link", "data-report": form, "data-route": route.name },
          { markdown: "Markdown", html: "HTML", json: "JSON" }[form],
        ),
      ]),
    ),
  );
}

function names(route) {
  return route.candidates.length ? route.candidates.map((each) => each.name).join(", ") : route.candidate;
}

function standing(route, now) {
  const decided = route.decidedBy ? h("span", { class: "quiet" }, ` (decided by ${route.decidedBy})`) : null;
  return h(
    "div",
    { class: isEnded(route) ? "standing ended" : "standing", "data-key": "standing" },
    h("div", { class: "big" }, h("span", { class: "label" }, "Candidate’s weight"), share(route)),
    h(
      "div",
      {},
      h("span", { class: "label" }, isEnded(route) ? "Why it ended" : "Why it is here"),
      h("p", { id: "reason" }, route.reason || "–", decided),
      route.winner ? h("p", {}, `Winner: ${route.winner}`) : null,
      route.contest ? h("p", {}, route.contest) : null,
    ),
    isEnded(route) ? null : h("div", {}, h("span", { class: "label" }, "What a promotion lacks"), lacking(route)),
    route.ramp
      ? h(
          "div",
          {},
          h("span", { class: "label" }, "Budget of bad requests"),
          h(
            "p",
            {},
            `${plain(route.ramp.spent)} of ${count(route.ramp.budget)} spent, ${plain(route.ramp.atStake)} at stake; at most ${percent(route.ramp.worst)} may be bad`,
          ),
          h("p", { class: "quiet" }, route.ramp.text),
        )
      : null,
    h(
      "div",
      { class: "dates quiet" },
      route.startedAt ? ["Started ", time(route.startedAt)] : "Not started",
      route.endedAt ? [" · ended ", time(route.endedAt), ` · took ${span(route.endedAt - route.startedAt)}`] : null,
      route.baseline ? ` · compared with the baseline ${route.baseline}` : null,
      isEnded(route) || route.startedAt === null ? null : ` · for ${span(now - route.startedAt)}`,
    ),
  );
}

function lacking(route) {
  if (!route.missing.length)
    return h("p", {}, route.metrics.length ? "Nothing that the evidence could say." : "No comparison yet.");
  return [
    h(
      "ul",
      { class: "lacks" },
      route.missing.map((text) => h("li", {}, text)),
    ),
    route.forecastSeconds === null
      ? h("p", { class: "quiet" }, "When that is there cannot be told yet.")
      : h("p", { id: "forecast" }, `At this rate in about ${span(route.forecastSeconds)}.`),
  ];
}

function steps(route) {
  const isDone = route.phase === "Succeeded";
  const taken = route.phase === "Baking" ? route.steps.length - 1 : route.step;
  return section(
    "Steps",
    h(
      "ol",
      { class: "steps" },
      route.steps.map((text, place) => {
        const state =
          isDone || place < taken ? "done" : place === taken ? (isEnded(route) ? "ended" : "here") : "to-come";
        const word = { done: "done", here: "now", ended: "ended here", "to-come": "" }[state];
        return h(
          "li",
          { class: state, "aria-current": state === "here" ? "step" : null },
          h("span", { class: "dot", "aria-hidden": "true" }),
          h("span", { class: "what" }, text),
          word ? h("span", { class: "word" }, word) : null,
        );
      }),
    ),
    h("p", { class: "unseen" }, `The candidate has ${weight(route.weight)} of the traffic.`),
  );
}
