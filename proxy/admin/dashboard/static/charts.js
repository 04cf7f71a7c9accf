// Weight, errors, p99 and requests over time. plotly's script is large, and loaded with the first picture.

import { h } from "./dom.js";

const PLOTLY = "dashboard/plotly.min.js";
const MAPS = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
const PANELS = ["weight, %", "errors, %", "p99, ms", "requests/s"];
const ORDER = ["stable", "baseline", "canary", "shadow"];
const FEW = 4; // points that are marked, since a line between them shows little

let loading = null;
let waiting = null;

/** The place of the picture; `drawn` fills it. */
export function figure(route, course) {
  const isEmpty = !course.points.length;
  waiting = isEmpty ? null : { route, course };
  return [
    isEmpty
      ? h(
          "p",
          { class: "quiet chart-empty", "data-key": "none" },
          "The first point comes some seconds after the controller has begun.",
        )
      : h("div", {
          id: "chart",
          "data-own": "plotly",
          "data-key": "chart",
          role: "img",
          "aria-label": described(route, course),
        }),
    h("p", { class: "foot quiet" }, "Since the controller began. What was before that is in the history below."),
  ];
}

/** Draw what `figure` has made a place for. */
export async function drawn(say) {
  const place = document.getElementById("chart");
  if (!place || !waiting) return;
  const { route, course } = waiting;
  try {
    const plotly = await loaded();
    if (place.isConnected)
      await plotly.react(place, traces(route, course), layout(place), { displayModeBar: false, responsive: true });
  } catch (error) {
    say(error.message);
    place.removeAttribute("data-own");
    place.replaceChildren(h("p", { class: "quiet" }, error.message));
  }
}

function loaded() {
  loading ??= new Promise((resolve, reject) => {
    // plotly brings a style for maps, in an element by this id unless there is one; the policy forbids it, and no map
    // is drawn here
    document.head.append(h("meta", { id: MAPS }));
    const script = h("script", { src: PLOTLY });
    script.addEventListener("load", () => resolve(globalThis.Plotly));
    script.addEventListener("error", () =>
      reject(new Error("Charts are left out: the Python package plotly is not installed where the controller runs.")),
    );
    document.head.append(script);
  });
  return loading;
}

function described(route, course) {
  const last = course.points[course.points.length - 1];
  return `The candidate’s weight, now ${last.weight} %, with errors, p99 and requests a second of ${course.versions.map((each) => `${each.backend} (${each.role})`).join(", ")}`;
}

function traces(route, course) {
  const colours = palette();
  const x = course.points.map((point) => new Date(1000 * point.at));
  const found = [
    {
      name: "weight",
      x,
      y: course.points.map((point) => point.weight),
      xaxis: "x",
      yaxis: "y",
      line: { shape: "hv", color: colours.candidate, width: 2 },
      fill: "tozeroy",
      fillcolor: colours.wash,
      showlegend: false,
      hovertemplate: "%{y} %<extra>weight</extra>",
    },
  ];
  for (const each of [...course.versions].sort((a, b) => ORDER.indexOf(a.role) - ORDER.indexOf(b.role))) {
    const color =
      each.role === "stable" ? colours.stable : each.role === "baseline" ? colours.quiet : colours.candidate;
    const name = `${each.backend} (${each.role})`;
    const line = { color, width: 1.75, dash: each.role === "shadow" || each.role === "baseline" ? "dot" : "solid" };
    const seconds = course.points.map((point) => point.seconds);
    const figures = [
      each.requests.map((n, i) => (n ? (100 * each.failed[i]) / n : null)),
      each.p99Ms,
      each.requests.map((n, i) => n / seconds[i]),
    ];
    const units = [" %", " ms", "/s"];
    figures.forEach((y, place) =>
      found.push({
        name,
        legendgroup: name,
        showlegend: place === 0,
        x,
        y,
        xaxis: "x",
        yaxis: `y${place + 2}`,
        line,
        connectgaps: false,
        hovertemplate: `%{y:.3~g}${units[place]}`,
      }),
    );
  }
  const mode = course.points.length < FEW ? "lines+markers" : "lines";
  return found.map((trace) => ({ type: "scatter", ...trace, mode }));
}

function layout(place) {
  const colours = palette();
  const height = 1 / PANELS.length;
  const axes = Object.fromEntries(
    PANELS.map((title, i) => [
      `yaxis${i ? i + 1 : ""}`,
      {
        domain: [1 - (i + 1) * height + 0.035, 1 - i * height - 0.035],
        title: { text: title, standoff: 8, font: { size: 12 } },
        rangemode: "tozero",
        gridcolor: colours.line,
        zerolinecolor: colours.line,
        fixedrange: true,
        nticks: 4,
        range: i === 0 ? [0, 105] : undefined,
        autorange: i !== 0,
        automargin: false,
      },
    ]),
  );
  return {
    ...axes,
    xaxis: {
      anchor: "y4",
      gridcolor: colours.line,
      fixedrange: true,
      type: "date",
      tickformat: "%H:%M:%S",
      nticks: Math.max(3, Math.floor(place.clientWidth / 130)),
    },
    height: 420,
    margin: { l: 62, r: 12, t: 8, b: 52 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colours.surface, bordercolor: colours.line, font: { color: colours.text } },
    legend: { orientation: "h", y: -0.08, x: 0 },
    uirevision: "kept",
  };
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"),
    line: of("line"),
    quiet: of("quiet"),
    surface: of("surface"),
    stable: of("stable"),
    candidate: of("candidate"),
    wash: of("wash"),
  };
}
