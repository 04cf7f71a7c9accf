// The page: which view is shown, how it stays true, and what is said when it does not.

import { ask, Refused } from "./api.js";
import { drawn } from "./charts.js";
import { confirm, download } from "./commands.js";
import * as config from "./config.js";
import { h, morph } from "./dom.js";
import { follow } from "./events.js";
import * as history from "./history.js";
import { form } from "./login.js";
import * as overview from "./overview.js";
import { notice } from "./parts.js";
import * as route from "./route.js";
import { forget, token } from "./session.js";
import { span } from "./words.js";

const STALE_MS = 6000; // three refusals to answer in a row
const SOON_MS = 120; // events that come together are one reason to ask
const AGAIN_MS = 2000;

const main = document.getElementById("main");
let view = overview;
let names = [];
let data = null;
let me = null;
let last = performance.now(); // when the API answered last
let problem = null;
let listening = false;
let timer = 0;
let turn = 0; // counts the views that were shown: what was asked for another one is thrown away
let stop = new AbortController();

// --- which view

function choose() {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  const views = { routes: route, journal: history, config };
  view = parts[0] === "routes" && !parts[1] ? overview : (views[parts[0]] ?? overview);
  names = parts.slice(1).map(decoded);
  data = null;
  turn += 1;
  document.title = `${view.title(names)} · Understudy`;
  for (const link of document.querySelectorAll("#nav a[href^='#']")) {
    const isHere = link.getAttribute("href") === `#/${{ journal: "journal", config: "config" }[parts[0]] ?? ""}`;
    link.toggleAttribute("aria-current", isHere);
    if (isHere) link.setAttribute("aria-current", "page");
  }
  main.replaceChildren(h("p", { class: "note", role: "status" }, "Loading …"));
  window.scrollTo(0, 0);
  refresh();
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// --- what it shows

async function refresh() {
  clearTimeout(timer);
  if (!me || document.hidden) return;
  const mine = turn;
  try {
    const found = await view.load(names);
    if (mine !== turn) return;
    data = found;
    last = performance.now();
    problem = null;
    redraw();
  } catch (error) {
    if (mine !== turn) return;
    failed(error);
  }
  tell();
  if (me) timer = setTimeout(refresh, problem ? AGAIN_MS : view.every);
}

function redraw() {
  if (!data) return;
  main.classList.remove("stale");
  morph(main, view.draw(data, names, me).flat(Infinity));
  drawn(say);
}

function failed(error) {
  problem = error;
  if (error instanceof Refused) last = performance.now(); // that is news as well
  if (error.status === 401)
    return enter("The API does not know this token any more: it was taken back, or the file has changed.");
  if (data && !(error instanceof Refused && error.status === 404)) return;
  const what =
    error instanceof Refused
      ? refusal(error)
      : [
          "warn",
          "The admin API does not answer.",
          "It is asked again every two seconds. Traffic flows without it: workers serve on.",
        ];
  data = null;
  const text = [h("p", {}, what[2]), h("p", {}, h("a", { href: "#/" }, "To all routes"))];
  main.replaceChildren(h("div", { class: "heading" }, h("h1", {}, what[1])), notice(what[0], "", text));
}

function refusal(error) {
  if (error.status === 404) return ["quiet", "There is no such route.", error.message];
  if (error.status === 403) return ["warn", "This is not allowed.", error.message];
  if (error.status === 429) return ["warn", "This address is not listened to for a while.", error.message];
  if (error.status === 503) return ["warn", "Not ready.", error.message];
  return ["bad", `The admin API answered ${error.status}.`, error.message];
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, SOON_MS);
}

// --- how it stays true

function tell() {
  const news = document.getElementById("news");
  const silent = performance.now() - last;
  const isStale = silent > STALE_MS && !document.hidden;
  const words = !me
    ? ""
    : isStale
      ? `No news for ${span(silent / 1000)}: what is shown may be old`
      : listening
        ? "Live"
        : "Live, asked every few seconds";
  if (news.textContent !== words) news.textContent = words;
  news.className = isStale ? "old" : words ? "live" : "";
  main.classList.toggle("stale", isStale && data !== null);
}

function listen() {
  stop.abort();
  stop = new AbortController();
  follow(
    (kind, told) => {
      last = performance.now();
      if (view.concerns(kind, told, names)) soon();
    },
    (is, error) => {
      if (is && !listening && problem) soon();
      listening = is;
      if (error?.status === 401) failed(error);
      tell();
    },
    stop.signal,
  );
}

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  setTimeout(() => toast.textContent === text && (toast.textContent = ""), 6000);
}

// --- who looks

async function begin() {
  try {
    known(await ask("me"));
  } catch (error) {
    last = performance.now();
    if (error.status === 401) return enter(token() ? "The API does not know this token any more." : "");
    failed(error);
    setTimeout(begin, AGAIN_MS);
  }
}

function enter(why) {
  me = null;
  stop.abort();
  forget();
  clearTimeout(timer);
  document.getElementById("who").replaceChildren();
  main.replaceChildren(form(why, known));
  document.getElementById("token").focus();
  document.title = "Understudy";
  tell();
}

function known(found) {
  me = found;
  const leave = token() ? h("button", { type: "button", class: "link", id: "leave" }, "Forget token") : null;
  const who = me.name ? `${me.name} (${me.role})` : "no login asked";
  document.getElementById("api").hidden = Boolean(token()); // a link sends no token
  document.getElementById("who").replaceChildren(h("span", { class: "quiet" }, who), leave ? " " : "", leave ?? "");
  listen();
  choose();
}

// --- what people do

document.addEventListener("click", (event) => {
  const found = event.target.closest("[data-command], [data-report], #leave, .skip");
  if (!found) return;
  if (found.matches(".skip")) {
    event.preventDefault();
    main.focus();
  } else if (found.id === "leave") enter("");
  else if (found.dataset.command) confirm(found, soon, say);
  else download(found, say);
});
document.addEventListener("input", (event) => view.input?.(event.target, redraw));
document.addEventListener(
  "toggle",
  (event) => event.target.dataset?.why && history.toggled(event.target, redraw),
  true,
);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
window.addEventListener("hashchange", () => me && choose());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
setInterval(tell, 1000);
begin();
