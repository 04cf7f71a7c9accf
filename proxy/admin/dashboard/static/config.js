// The configuration that is live, and what was wrong with the last one that was refused.

import { ask, text } from "./api.js";
import { h } from "./dom.js";
import { notice, time } from "./parts.js";
import { many } from "./words.js";

export const title = () => "Configuration";
export const every = 5000;
export const concerns = (kind) => kind === "config";

export async function load() {
  const status = await ask("status");
  try {
    return { status, file: (await text("config")).body };
  } catch (error) {
    if (error.status !== 503) throw error;
    return { status, file: "", missing: error.message };
  }
}

export function draw({ status, file, missing }) {
  const { config } = status;
  return [
    h(
      "div",
      { class: "heading" },
      h("h1", {}, "Configuration"),
      h(
        "p",
        { class: "quiet" },
        h("code", {}, config.path),
        ` · live since `,
        time(config.loadedAt),
        ` · generation ${config.generation} · digest `,
        h("code", {}, config.digest.slice(0, 12)),
      ),
    ),
    config.lastError
      ? refused(config.lastError)
      : notice("good", "The file is live as it is.", h("p", {}, "Its last change was taken.")),
    status.restartNeeded.length ? notice("warn", `Needs a restart: ${status.restartNeeded.join(", ")}`) : null,
    status.differences.map((each) =>
      notice("warn", `${each.route}: ${each.text}`, h("p", { class: "quiet" }, each.remedy)),
    ),
    missing
      ? notice("quiet", missing)
      : [h("h2", {}, "As it was loaded"), h("p", { class: "quiet" }, "Masks stand for secrets."), listing(file)],
  ];
}

function refused(error) {
  return h(
    "section",
    { "aria-label": "Refused" },
    notice(
      "bad",
      `The file was refused at ${new Date(1000 * error.at).toLocaleTimeString("en-GB")}: ${many(error.problems.length, "problem")}. What ran before runs on.`,
      h(
        "ul",
        { class: "problems" },
        error.problems.map((each) =>
          h(
            "li",
            {},
            h("code", {}, `${each.source}:${each.line}:${each.column}`),
            each.path ? [" ", h("code", {}, each.path)] : null,
            h("br"),
            each.message,
            each.remedy ? h("span", { class: "remedy" }, ` → ${each.remedy}`) : null,
          ),
        ),
      ),
    ),
  );
}

function listing(file) {
  const lines = file.replace(/\n$/, "").split("\n");
  return h(
    "pre",
    { class: "file", tabindex: "0", role: "region", "aria-label": "The configuration file" },
    h(
      "code",
      {},
      lines.map((line, place) => [
        h("span", { class: "number", "aria-hidden": "true" }, String(place + 1).padStart(4)),
        ` ${line}\n`,
      ]),
    ),
  );
}
