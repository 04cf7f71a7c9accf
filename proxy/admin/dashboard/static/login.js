// The form that asks for a token, where one is needed.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { forget, remember } from "./session.js";

/** The form; `why` says what was wrong with the last token, and `entered` is called once one is known. */
export function form(why, entered) {
  const field = h("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    maxlength: 1024,
    "aria-describedby": "token-note",
  });
  const problem = h("p", { class: "bad-text", role: "alert", id: "token-problem" }, why);
  const shown = h(
    "form",
    { class: "login", id: "login" },
    h("h1", {}, "A token is needed"),
    h(
      "p",
      { id: "token-note" },
      "It is one of ",
      h("code", {}, "admin.tokens"),
      " of the configuration. It stays in this tab alone, and is forgotten when the tab is closed, or when the API does not know it.",
    ),
    h("label", { for: "token" }, "Token"),
    field,
    problem,
    h("button", { type: "submit", class: "primary" }, "Enter"),
  );
  shown.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (/[^\x21-\x7e]/.test(given)) {
      problem.textContent = "A token has no spaces and no letters beyond ASCII: was it copied whole?";
      return;
    }
    remember(given);
    try {
      entered(await ask("me"));
    } catch (error) {
      forget();
      problem.textContent = error.status === 401 ? "The API does not know this token." : error.message;
      field.select();
    }
  });
  return shown;
}
