// Pieces that several views show. What a colour says is said by a sign and a word as well.

import { h } from "./dom.js";
import { exactly, moment, weight } from "./words.js";

const PHASES = {
  Waiting: ["wait", "○"],
  Progressing: ["go", "▶"],
  Paused: ["warn", "‖"],
  Promoting: ["go", "▲"],
  Baking: ["go", "◔"],
  Swapping: ["go", "⇄"],
  Reverting: ["warn", "◀"],
  Succeeded: ["good", "✓"],
  Aborted: ["bad", "✕"],
  Failed: ["bad", "✕"],
};
const URGENCIES = { act: ["bad", "!", "Needs somebody"], look: ["warn", "•", "Worth a look"] };
const ENDED = ["Succeeded", "Aborted", "Failed"];

/** Whether a rollout is over. */
export function isEnded(route) {
  return ENDED.includes(route.phase);
}

/** A word with a sign, in a tone. */
export function badge(tone, sign, text) {
  return h("span", { class: `badge ${tone}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign), text);
}

/** The phase of a rollout. */
export function phase(name) {
  if (!name) return h("span", { class: "quiet" }, "fixed weights");
  const [tone, sign] = PHASES[name] ?? ["wait", "○"];
  return badge(tone, sign, name);
}

/** How urgently somebody is needed. */
export function urgency(level) {
  const known = URGENCIES[level];
  return known ? badge(...known) : null;
}

/** The verdict of a rollout, once there is one. */
export function verdict(route) {
  if (!route.verdict) return null;
  const tone = { Successful: ["good", "✓"], Failed: ["bad", "✕"], Inconclusive: ["warn", "?"], Error: ["bad", "!"] };
  const [name, sign] = tone[route.verdict] ?? ["wait", "○"];
  return badge(name, sign, `verdict: ${route.verdict}`);
}

/** The candidate's share of the live traffic as a bar, with copies as a line below it. */
export function share(route) {
  const copies = route.mirror ? ` + ${weight(route.mirror)} copied` : "";
  const value = Math.max(0, Math.min(100, route.weight));
  return h(
    "span",
    { class: "share" },
    h("meter", { min: 0, max: 100, value, "aria-label": `live weight ${weight(route.weight)}` }),
    h("span", { class: "figure" }, weight(route.weight), h("small", {}, copies)),
  );
}

/** A time. */
export function time(at) {
  return h("time", { datetime: exactly(at), title: exactly(at) }, moment(at));
}

/** A notice: what is so, why, and what to do about it. */
export function notice(tone, title, ...children) {
  const sign = { bad: "!", warn: "!", good: "✓", quiet: "i" }[tone];
  return h(
    "div",
    { class: `notice ${tone}`, role: tone === "bad" ? "alert" : null },
    h("span", { class: "sign", "aria-hidden": "true" }, sign),
    h("div", {}, title ? h("strong", {}, title) : null, children),
  );
}

/** A section with a heading. */
export function section(title, ...children) {
  const id = `s-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return h("section", { "aria-labelledby": id, "data-key": id }, h("h2", { id }, title), children);
}

/** A table. `head` are texts, or [text, "num"] for columns of numbers; `rows` are lists of what cells hold. */
export function table(caption, head, rows, kind = "") {
  const columns = head.map((each) => (Array.isArray(each) ? each : [each, ""]));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      { class: kind },
      h("caption", { class: "unseen" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((cells) => row(columns, cells)),
      ),
    ),
  );
}

function row(columns, cells) {
  const key = cells.key ?? null;
  return h(
    "tr",
    { "data-key": key, class: cells.kind },
    (cells.cells ?? cells).map((cell, place) =>
      place === 0
        ? h("th", { scope: "row", class: columns[place][1] }, cell)
        : h("td", { class: columns[place][1], "data-label": columns[place][0] }, cell),
    ),
  );
}
