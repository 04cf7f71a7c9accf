// Numbers and times as people read them. Nothing is known: a dash.

export const NOTHING = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A count, with thousands apart. */
export function count(number) {
  return isThere(number) ? whole.format(number) : NOTHING;
}

/** A number with three digits that count. */
export function plain(number) {
  return isThere(number) ? (Math.abs(number) >= 1000 ? whole : three).format(number) : NOTHING;
}

/** A share of one, in percent. */
export function percent(share) {
  return isThere(share) ? `${plain(100 * share)} %` : NOTHING;
}

/** A percentage that the API gives as one. */
export function weight(value) {
  return isThere(value) ? `${three.format(value)} %` : NOTHING;
}

/** Requests a second. */
export function rate(value) {
  return isThere(value)
    ? value > 0 && value < 0.1
      ? "< 0.1/s"
      : `${plain(value >= 100 ? Math.round(value) : value)}/s`
    : NOTHING;
}

/** A latency that is given in milliseconds. */
export function milliseconds(value) {
  if (!isThere(value)) return NOTHING;
  return value >= 1000 ? `${plain(value / 1000)} s` : `${plain(value)} ms`;
}

/** What a metric is at in one version, by its kind. */
export function level(kind, value) {
  if (!isThere(value)) return NOTHING;
  if (kind === "latency") return milliseconds(1000 * value);
  if (kind === "number" || kind === "loss") return plain(value);
  return percent(value);
}

/** A difference in the unit of its metric, with its sign. */
export function effect(value, unit) {
  if (!isThere(value)) return NOTHING;
  const sign = value > 0 ? "+" : value < 0 ? "−" : "";
  return `${sign}${plain(Math.abs(value))} ${unit}`;
}

/** Evidence as betting odds. */
export function odds(value) {
  if (!isThere(value)) return NOTHING;
  if (value >= 1e6) return "> 999,999 : 1";
  if (value >= 1) return `${plain(value)} : 1`;
  return value > 1e-6 ? `1 : ${plain(1 / value)}` : "1 : > 999,999";
}

/** A length of time, roughly. */
export function span(seconds) {
  if (!isThere(seconds)) return NOTHING;
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600)
    return `${Math.floor(s / 3600)} h ${String(Math.round((s % 3600) / 60) % 60).padStart(2, "0")} min`;
  return `${Math.round(s / 86_400)} days`;
}

/** A time of the wall clock, here, in hours and minutes; with its date where that is another day. */
export function moment(at) {
  if (!isThere(at)) return NOTHING;
  const date = new Date(1000 * at);
  const clock = date.toLocaleTimeString("en-GB");
  if (date.toDateString() === new Date().toDateString()) return clock;
  return `${date.toLocaleDateString("en-CA")} ${clock}`;
}

/** The same in full, for machines and for whoever points at it. */
export function exactly(at) {
  return isThere(at) ? new Date(1000 * at).toISOString() : "";
}

/** So long ago. */
export function ago(at, now) {
  return isThere(at) ? `${span(now - at)} ago` : NOTHING;
}

/** One or several of something. */
export function many(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function isThere(number) {
  return number !== null && number !== undefined && Number.isFinite(number);
}
