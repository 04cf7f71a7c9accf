// The API's server-sent events, read by `fetch`, since an EventSource sends no token. Comes back after a loss, later
// each time, and goes on in the journal where it was.

import { open } from "./api.js";

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
const SILENCE_MS = 40_000; // a comment comes every 15 s: after this the connection is dead, whatever TCP thinks

/**
 * Call `told(kind, data)` for each event, and `state(listening, error)` when that changes, until `signal`.
 */
export async function follow(told, state, signal) {
  let wait = FIRST_MS;
  let last = "";
  while (!signal.aborted) {
    const cut = new AbortController();
    const end = () => cut.abort();
    signal.addEventListener("abort", end);
    let error = null;
    try {
      const answer = await open("events", last ? { "Last-Event-ID": last } : {}, cut.signal);
      state(true, null);
      wait = FIRST_MS;
      for await (const event of events(answer.body, cut)) {
        if (event.id) last = event.id;
        told(event.kind, event.data);
      }
    } catch (caught) {
      error = caught;
    } finally {
      signal.removeEventListener("abort", end);
    }
    if (signal.aborted || error?.status === 401) return;
    state(false, error);
    await new Promise((resume) => setTimeout(resume, wait * (0.75 + Math.random() / 2)));
    wait = Math.min(2 * wait, LONGEST_MS);
  }
}

async function* events(body, cut) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let watch = setTimeout(() => cut.abort(), SILENCE_MS);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(() => cut.abort(), SILENCE_MS);
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const event = parsed(part);
        if (event) yield event;
      }
    }
  } finally {
    clearTimeout(watch);
  }
}

function parsed(text) {
  const found = { id: "", kind: "", data: "" };
  for (const line of text.split("\n")) {
    const [name, ...value] = line.split(": ");
    if (name === "id") found.id = value.join(": ");
    else if (name === "event") found.kind = value.join(": ");
    else if (name === "data") found.data += value.join(": ");
  }
  return found.kind ? { ...found, data: JSON.parse(found.data) } : null;
}
