// How the versions go: latency, outcomes, predictions, pairs, endpoints and held requests.

import { h } from "./dom.js";
import { badge, section, table, time } from "./parts.js";
import { count, many, milliseconds, NOTHING, percent, plain, weight } from "./words.js";

const LABELS = 20;

/** The sections of a route that has anything to show in them. */
export function versions(route, backends) {
  return [
    arms(route),
    outcomes(route),
    labels(route),
    numbers(route),
    pairs(route),
    feedback(route),
    distances(route),
    endpoints(route, backends),
    held(route),
    webhooks(route),
  ];
}

function arms(route) {
  const head = [
    "Version",
    "Role",
    ["Weight", "num"],
    ["Requests", "num"],
    ["Failed", "num"],
    ["In flight", "num"],
    ["Users", "num"],
    ["p50", "num"],
    ["p95", "num"],
    ["p99", "num"],
  ];
  const rows = route.arms.map((arm) => [
    h(
      "span",
      { class: `who ${arm.role === "stable" || arm.role === "baseline" ? "stable" : "candidate"}` },
      arm.backend,
    ),
    arm.role,
    arm.role === "shadow" ? NOTHING : weight(arm.weight),
    count(arm.requests),
    [
      part(arm.failed, arm.requests),
      arm.failedToClients === arm.failed ? null : h("small", {}, `${count(arm.failedToClients)} seen by clients`),
    ],
    count(arm.inFlight),
    count(arm.users),
    milliseconds(arm.latencyMs.p50),
    milliseconds(arm.latencyMs.p95),
    milliseconds(arm.latencyMs.p99),
  ]);
  const what = route.phase
    ? "Requests are of the whole rollout; latency and predictions of the stage that was compared last."
    : "Since the start.";
  return section("Versions", table("Versions", head, rows), h("p", { class: "foot quiet" }, what));
}

function outcomes(route) {
  const rows = [];
  for (const [group, word] of [
    ["statuses", "status"],
    ["faults", "fault"],
    ["retries", "retry"],
    ["skips", "copy skipped"],
    ["repeats", "stable asked twice"],
  ]) {
    for (const name of [...new Set(route.arms.flatMap((arm) => Object.keys(arm[group])))].sort()) {
      rows.push([
        `${word} ${group === "statuses" && name === "0" ? "none" : name}`,
        ...route.arms.map((arm) => count(arm[group][name] ?? 0)),
      ]);
    }
  }
  return rows.length ? section("Outcomes", table("Outcomes", ["Outcome", ...titles(route.arms)], rows)) : null;
}

function labels(route) {
  const outputs = [...new Set(route.arms.flatMap((arm) => Object.keys(arm.labels)))];
  const parts = outputs.map((output) => {
    const shown = route.arms.filter((arm) => arm.labels[output]);
    const largest = new Map();
    for (const arm of shown)
      for (const [name, share] of Object.entries(arm.labels[output]))
        largest.set(name, Math.max(largest.get(name) ?? 0, share));
    const names = [...largest.keys()].sort((a, b) => largest.get(b) - largest.get(a) || (a < b ? -1 : 1));
    const rows = names
      .slice(0, LABELS)
      .map((name) => [
        h("span", { class: "label-text" }, name),
        ...shown.map((arm) => bar(arm.labels[output][name] ?? 0, arm.role)),
      ]);
    return [
      h("h3", {}, output),
      table(`Shares of the labels of ${output}`, ["Label", ...titles(shown)], rows),
      names.length > LABELS
        ? h("p", { class: "foot quiet" }, `… and ${many(names.length - LABELS, "rarer label")}.`)
        : null,
    ];
  });
  return parts.length ? section("Predicted labels", parts) : null;
}

function bar(share, role) {
  const value = Math.max(0, Math.min(1, share));
  return h(
    "span",
    { class: "share small" },
    h("meter", {
      class: role === "stable" || role === "baseline" ? "stable" : "candidate",
      min: 0,
      max: 1,
      value,
      "aria-label": percent(share),
    }),
    h("span", { class: "figure" }, percent(share)),
  );
}

function numbers(route) {
  const rows = route.arms.flatMap((arm) =>
    Object.entries(arm.numbers).map(([output, found]) => [
      output,
      `${arm.backend} (${arm.role})`,
      plain(found.mean),
      plain(found.sd),
      count(found.n),
    ]),
  );
  return rows.length
    ? section(
        "Predicted numbers",
        table(
          "Predicted numbers",
          ["Output", "Version", ["Mean", "num"], ["Standard deviation", "num"], ["Values", "num"]],
          rows,
        ),
      )
    : null;
}

function pairs(route) {
  const all = route.candidates.length
    ? route.candidates.map((each) => [each.pairs, ` of ${each.name}`])
    : [[route.pairs, ""]];
  const shown = all.filter(([found]) => found && found.compared);
  if (!shown.length) return null;
  return section(
    "Pairs",
    shown.map(([found, of]) => [
      h("p", {}, `${count(found.compared)} requests were answered by both versions${of} and compared.`),
      Object.entries(found.outputs).map(([output, pair]) => [
        h("h3", {}, output, h("span", { class: "quiet" }, ` ${part(pair.disagreed, pair.compared)} disagree`)),
        pair.repeated
          ? h(
              "p",
              { class: "quiet" },
              `Of ${count(pair.repeated)} that stable was asked twice it differs from itself in ${part(pair.stableDisagreed, pair.repeated)}.`,
            )
          : null,
        pair.confusion.rows.length ? confusion(output, pair.confusion) : null,
      ]),
    ]),
  );
}

function confusion(output, { rows, cells }) {
  const kept = rows.slice(0, 12);
  const body = kept.map((name, i) => [
    name,
    ...kept.map((_, j) => h("span", { class: i === j || !cells[i][j] ? null : "differs" }, count(cells[i][j]))),
  ]);
  return table(
    `Answers to ${output}: stable in rows, candidate in columns`,
    ["stable ↓ candidate →", ...kept.map((name) => [name, "num"])],
    body,
  );
}

function feedback(route) {
  const rows = route.arms
    .filter((arm) => arm.feedback)
    .map((arm) => [arm.backend, count(arm.feedback.truths), percent(arm.feedback.wrong), plain(arm.feedback.logLoss)]);
  if (!rows.length) return null;
  const waiting = route.feedback?.waiting
    ? h("p", { class: "foot quiet" }, `${count(route.feedback.waiting)} truths are not in the evidence yet.`)
    : null;
  return section(
    "Feedback",
    table("Feedback", ["Version", ["Truths", "num"], ["Wrong", "num"], ["Log-loss", "num"]], rows),
    waiting,
  );
}

function distances(route) {
  if (!route.distances.length) return null;
  const rows = route.distances.map((each) => [
    each.name,
    plain(each.psi),
    plain(each.jensenShannon),
    plain(each.wasserstein),
    plain(each.ks),
  ]);
  return section(
    "Distances",
    table(
      "Distances",
      ["Of", ["PSI", "num"], ["Jensen-Shannon", "num"], ["Wasserstein (sd)", "num"], ["Kolmogorov-Smirnov", "num"]],
      rows,
    ),
    h("p", { class: "foot quiet" }, "Sizes to look at, by which nothing is decided."),
  );
}

function endpoints(route, backends) {
  const used = new Set(
    route.arms
      .map((arm) => arm.backend)
      .concat(
        route.stable,
        route.candidates.map((each) => each.name),
        route.candidate,
      ),
  );
  const tones = { healthy: ["good", "✓"], unhealthy: ["bad", "✕"], ejected: ["warn", "!"], unknown: ["wait", "○"] };
  const rows = backends
    .filter((backend) => used.has(backend.name))
    .flatMap((backend) =>
      backend.endpoints.map((each) => [
        backend.name,
        h("code", {}, each.address),
        [
          badge(...(tones[each.state] ?? tones.unknown), each.out || each.state),
          each.reason ? h("small", {}, each.reason) : null,
        ],
        each.since ? time(each.since) : NOTHING,
        count(each.inFlight),
        count(each.ejections),
      ]),
    );
  return rows.length
    ? section(
        "Endpoints",
        table(
          "Endpoints",
          ["Version", "Endpoint", "Health", "Since", ["In flight", "num"], ["Ejections", "num"]],
          rows,
        ),
      )
    : null;
}

function held(route) {
  if (!route.held) return null;
  const words = {
    waiting: "wait now",
    total: "had to wait",
    released: "released",
    expired: "out of time",
    displaced: "gave way",
    left: "client left",
    refused: "refused",
  };
  return section(
    "Held requests",
    table(
      "Held requests",
      ["Outcome", ["Requests", "num"]],
      Object.entries(words).map(([key, word]) => [word, count(route.held[key])]),
    ),
  );
}

function webhooks(route) {
  if (!route.webhooks.length) return null;
  const rows = route.webhooks.map((each) => [
    each.name,
    each.type,
    each.answer || NOTHING,
    each.answeredAt ? time(each.answeredAt) : NOTHING,
    count(each.waiting),
    count(each.told),
    count(each.givenUp),
  ]);
  return section(
    "Webhooks",
    table(
      "Webhooks",
      ["Name", "Type", "Answered last", "At", ["Waiting", "num"], ["Told", "num"], ["Given up", "num"]],
      rows,
    ),
  );
}

function titles(arms) {
  return arms.map((arm) => [`${arm.backend} (${arm.role})`, "num"]);
}

function part(some, all) {
  return all ? `${count(some)} (${percent(some / all)})` : count(some);
}
