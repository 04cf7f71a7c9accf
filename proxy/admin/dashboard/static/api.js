// Questions to the admin API. What goes wrong is one of two errors, which say what to do.

import { forget, token } from "./session.js";

const BASE = "api/v1";
const PATIENCE_MS = 15_000;

/** The API has answered, and refused. `kind` is that of its problem document. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the admin API answered ${status}`);
    this.status = status;
    this.kind = (problem.type ?? "").split(":").pop();
  }
}

/** Nobody has answered. */
export class Unreachable extends Error {}

/** Headers by which the API knows who asks. */
export function credentials() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

/** A document of the API. */
export async function ask(path) {
  return (await answered(path, { headers: credentials() })).json();
}

/** A text of the API, with its type. */
export async function text(path) {
  const answer = await answered(path, { headers: credentials() });
  return { body: await answer.text(), type: answer.headers.get("Content-Type") ?? "text/plain" };
}

/** Give a command. */
export async function command(path, body) {
  const headers = { ...credentials(), "Content-Type": "application/json" };
  return (await answered(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** A stream of bytes of the API, until `signal`. */
export async function open(path, headers, signal) {
  return refuse(await reached(`${BASE}/${path}`, { headers: { ...credentials(), ...headers }, signal }));
}

/** The path of a route. */
export function ofRoute(name, what = "") {
  return `routes/${encodeURIComponent(name)}${what}`;
}

async function answered(path, options) {
  return refuse(await reached(`${BASE}/${path}`, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) }));
}

async function reached(url, options) {
  try {
    return await fetch(url, { ...options, cache: "no-store", credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (options.signal?.aborted && error.name === "AbortError") throw error;
    throw new Unreachable("the admin API does not answer");
  }
}

async function refuse(answer) {
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // no problem document: somebody in between has answered
  }
  if (answer.status === 401) forget();
  throw new Refused(answer.status, problem);
}
