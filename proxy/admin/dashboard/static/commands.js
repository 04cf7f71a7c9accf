// Commands: what the API offers whoever looks, asked for again in plain words before it is given.

import { command, ofRoute, text } from "./api.js";
import { h } from "./dom.js";

const NAMES = {
  promote: "Promote one step",
  full: "Promote fully",
  abort: "Abort",
  pause: "Pause",
  resume: "Resume",
  retry: "Retry",
  undo: "Undo",
};
const HARSH = ["abort", "undo", "full"];
const REASONED = ["abort", "undo"]; // the commands of which the journal takes a reason
const LONGEST_REASON = 1000;
const MAY = ["operator", "admin"];

/** The buttons of a route; a viewer gets none, and is told so. */
export function buttons(route, me) {
  if (!route.commands.length) return null;
  if (!MAY.includes(me?.role))
    return h(
      "p",
      { class: "quiet", id: "may-not" },
      `Commands need an operator; ${me?.name || "this token"} is ${me?.role === "viewer" ? "a viewer" : "none"}.`,
    );
  return h(
    "div",
    { class: "commands", role: "group", "aria-label": "Commands" },
    route.commands.map((offer) =>
      h(
        "button",
        {
          type: "button",
          class: HARSH.includes(kind(offer)) ? "harsh" : null,
          "data-key": `c-${kind(offer)}-${offer.candidate}`,
          "data-command": JSON.stringify(offer),
          "data-route": route.name,
        },
        label(offer),
      ),
    ),
  );
}

function kind(offer) {
  return offer.full ? "full" : offer.verb;
}

function label(offer) {
  return offer.candidate ? `${NAMES[kind(offer)]}: ${offer.candidate}` : NAMES[kind(offer)];
}

/** Ask whether a command is meant; give it, and say what came of it. `done` is called after it was carried out. */
export function confirm(button, done, say) {
  const offer = JSON.parse(button.dataset.command);
  const name = button.dataset.route;
  const dialog = document.getElementById("dialog");
  const reason = REASONED.includes(offer.verb)
    ? h("textarea", { id: "reason-text", rows: 2, maxlength: LONGEST_REASON })
    : null;
  const problem = h("p", { class: "bad-text", role: "alert" });
  const go = h("button", { type: "submit", class: HARSH.includes(kind(offer)) ? "harsh" : "primary" }, label(offer));
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "dialog-title" }, `${label(offer)}: ${name}`),
    h("p", {}, offer.text),
    reason ? [h("label", { for: "reason-text" }, "Reason, for the journal"), reason] : null,
    problem,
    h("div", { class: "commands" }, h("button", { type: "button", id: "cancel" }, "Cancel"), go),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await command(ofRoute(name, `/${offer.verb}`), body(offer, reason));
      dialog.close();
      say(`${label(offer)}: done.`);
      done();
    } catch (error) {
      problem.textContent = error.status
        ? error.message
        : `${error.message}: nobody knows whether it was carried out; look at the history`;
      go.disabled = false;
    }
  });
  form.querySelector("#cancel").addEventListener("click", () => dialog.close());
  dialog.replaceChildren(form);
  dialog.showModal();
  (reason ?? go).focus();
}

function body(offer, reason) {
  return {
    ...(offer.full ? { full: true } : {}),
    ...(offer.candidate ? { candidate: offer.candidate } : {}),
    ...(reason?.value.trim() ? { reason: reason.value.trim() } : {}),
  };
}

/** Have the browser keep a report. It is asked for here, since a link sends no token. */
export async function download(button, say) {
  const { report, route } = button.dataset;
  try {
    const found = await text(ofRoute(route, `/report?format=${report}`));
    const url = URL.createObjectURL(new Blob([found.body], { type: found.type }));
    const ending = { markdown: "md", html: "html", json: "json" }[report];
    h("a", { href: url, download: `${route.replace(/[^\w.-]+/g, "-")}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    say(`No report: ${error.message}`);
  }
}
