// The evidence: one row for each metric, with its interval drawn against its margin.

import { h, svg } from "./dom.js";
import { badge, section, table } from "./parts.js";
import { count, effect, level, odds, percent } from "./words.js";

const WIDTH = 220;
const HEIGHT = 26;
const EDGE = 1.9; // margins to either side that the picture shows; beyond it an arrow stands

/** Metrics and the split, of several candidates those of each. */
export function evidence(route) {
  if (!route.candidates.length) return section("Evidence", metrics(route, route.candidate), split(route));
  return section(
    "Evidence",
    route.candidates.map((each) => [
      h("h3", {}, each.name, " ", candidate(each)),
      each.reason ? h("p", { class: "quiet" }, each.reason) : null,
      metrics(each, each.name),
      split(each),
    ]),
  );
}

function candidate(each) {
  if (each.racing) return badge("go", "▶", "in the race");
  const tones = {
    Failed: ["bad", "✕", "left: harm"],
    Inconclusive: ["warn", "✕", "taken out by hand"],
    "Not chosen": ["wait", "○", "not chosen"],
    Successful: ["good", "✓", "proven"],
  };
  return badge(...(tones[each.verdict] ?? ["wait", "○", "not decided"]));
}

function metrics(of, name) {
  if (!of.metrics.length) return h("p", { class: "quiet" }, "No comparison yet: both versions must have answered.");
  const head = [
    "Metric",
    "Says",
    ["Level", "num"],
    ["Difference", "num"],
    "Interval against margin",
    "Margin",
    ["Evidence", "num"],
    ["Samples", "num"],
  ];
  return [
    table(
      `Metrics of ${name}`,
      head,
      of.metrics.map((metric) => ({ key: `m-${name}-${metric.name}`, cells: line(metric, of.bounds[metric.name]) })),
      "metrics",
    ),
    h("p", { class: "foot quiet" }, "Level and samples: what it is compared with above, the candidate below."),
    h(
      "details",
      { class: "why", "data-key": `words-${name}` },
      h("summary", {}, "In words"),
      h(
        "ul",
        {},
        of.metrics.filter((metric) => metric.text).map((metric) => h("li", {}, metric.text)),
      ),
    ),
    of.abortEvidence === null
      ? null
      : h(
          "p",
          {},
          `Evidence of harm over all metrics: ${odds(of.abortEvidence)}. At ${odds(of.abortNeeded)} it is aborted.`,
        ),
  ];
}

function line(metric, bound) {
  return [
    [
      metric.name,
      metric.role === "guardrail" ? null : h("small", {}, metric.role),
      metric.subject ? h("small", {}, metric.subject) : null,
    ],
    says(metric),
    two(level(metric.kind, metric.stable), level(metric.kind, metric.candidate)),
    effect(metric.effect, metric.unit),
    h("div", { class: "forest" }, picture(metric, bound), h("small", {}, interval(metric))),
    [metric.margin, metric.effectiveMargin === metric.margin ? null : h("small", {}, metric.effectiveMargin)],
    [
      h("span", { class: "two" }, h("small", { class: "inline" }, "for "), odds(metric.evidencePass)),
      h("span", { class: "two" }, h("small", { class: "inline" }, "against "), odds(metric.evidenceHarm)),
      metric.neededPass === null ? null : h("small", {}, `passes at ${odds(metric.neededPass)}`),
    ],
    [
      two(count(metric.nStable), count(metric.nCandidate)),
      metric.nEffective && Math.abs(metric.nEffective - metric.nCandidate) >= 1
        ? h("small", {}, `worth ${count(metric.nEffective)}`)
        : null,
    ],
  ];
}

function two(stable, candidate) {
  return [h("span", { class: "two stable" }, stable), h("span", { class: "two candidate" }, candidate)];
}

function says(metric) {
  if (metric.harmed) return badge("bad", "✕", "worse than margin");
  if (metric.passed) return badge("good", "✓", "within margin");
  if (!metric.nCandidate) return badge("wait", "○", "no data yet");
  return badge("wait", "…", "open");
}

function interval(metric) {
  if (metric.low === null && metric.high === null) return "no interval yet";
  if (metric.low === null) return `under ${effect(metric.high, metric.unit)}`;
  if (metric.high === null) return `over ${effect(metric.low, metric.unit)}`;
  return `${effect(metric.low, metric.unit)} to ${effect(metric.high, metric.unit)}`;
}

/** Zero is in the middle and the margin at a fixed place, so that rows of different units can be read together. */
function picture(metric, bound) {
  const margin = Math.max(Math.abs(bound?.high ?? 0), Math.abs(bound?.low ?? 0));
  const middle = WIDTH / 2;
  const x = (value) => middle + (Math.max(-EDGE, Math.min(EDGE, value / margin)) * middle) / EDGE;
  const label = `${metric.name}: ${interval(metric)}, margin ${metric.effectiveMargin}`;
  if (!margin)
    return svg(
      "svg",
      { class: "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      axis(middle),
      span(metric, (value) => middle + (Math.max(-1, Math.min(1, value / reach(metric))) * middle) / EDGE),
    );
  return svg(
    "svg",
    { class: "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    svg("rect", {
      class: "pass",
      x: bound.low === null ? 0 : x(bound.low),
      y: 0,
      width: (bound.high === null ? WIDTH : x(bound.high)) - (bound.low === null ? 0 : x(bound.low)),
      height: HEIGHT,
    }),
    bound.high === null
      ? null
      : svg("rect", { class: "harm", x: x(bound.high), y: 0, width: WIDTH - x(bound.high), height: HEIGHT }),
    bound.low === null ? null : svg("rect", { class: "harm", x: 0, y: 0, width: x(bound.low), height: HEIGHT }),
    axis(middle),
    bound.high === null ? null : edge(x(bound.high)),
    bound.low === null ? null : edge(x(bound.low)),
    span(metric, x),
  );
}

function reach(metric) {
  return Math.max(Math.abs(metric.low ?? 0), Math.abs(metric.high ?? 0), Math.abs(metric.effect ?? 0), 1e-12);
}

function axis(middle) {
  return svg("line", { class: "zero", x1: middle, x2: middle, y1: 0, y2: HEIGHT });
}

function edge(x) {
  return svg("line", { class: "margin", x1: x, x2: x, y1: 0, y2: HEIGHT });
}

function span(metric, x) {
  const parts = [];
  const y = HEIGHT / 2;
  if (metric.low !== null || metric.high !== null) {
    const left = metric.low === null ? 0 : x(metric.low);
    const right = metric.high === null ? WIDTH : x(metric.high);
    parts.push(svg("line", { class: "span", x1: left, x2: right, y1: y, y2: y }));
    if (left <= 1) parts.push(svg("path", { class: "arrow", d: `M1 ${y} l6 -4 v8 z` }));
    else parts.push(svg("line", { class: "span", x1: left, x2: left, y1: y - 4, y2: y + 4 }));
    if (right >= WIDTH - 1) parts.push(svg("path", { class: "arrow", d: `M${WIDTH - 1} ${y} l-6 -4 v8 z` }));
    else parts.push(svg("line", { class: "span", x1: right, x2: right, y1: y - 4, y2: y + 4 }));
  }
  if (metric.effect !== null)
    parts.push(svg("circle", { class: "effect", cx: Math.max(4, Math.min(WIDTH - 4, x(metric.effect))), cy: y, r: 4 }));
  return parts;
}

function split({ ratio }) {
  if (!ratio) return null;
  if (ratio.checked === "not checked") return h("p", { class: "quiet" }, `Sample ratio: ${ratio.text}`);
  return h(
    "p",
    { class: ratio.flagged ? "bad-text" : "quiet" },
    `Sample ratio by ${ratio.checked}: ${percent(ratio.observedShare)} observed, ${percent(ratio.expectedShare)} configured, evidence that it is off ${odds(ratio.evidence)}. ${ratio.text}`,
  );
}
