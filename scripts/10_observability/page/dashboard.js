// The dashboard draws what its stream sends: a sample each second, and a summary of the events.
// What arrives is shown as text: textContent never turns it into HTML.

const MINUTES_SHOWN = 2;
const SILENT_SECONDS = 3; // the server sends a sample each second
const AGAIN_SECONDS = 1; // after an answer that is not a stream

const byId = (id) => document.getElementById(id);
let samples = []; // of the last two minutes, oldest first
let lastEventId = "0"; // older than any event: the hub replays all samples that it has
let heardAt = performance.now();
let source = null;
let failures = 0; // since it was last open

function listen() {
  // Relative, to keep a proxy's prefix.
  const query = new URLSearchParams({ types: "sample,summary", last_event_id: lastEventId });
  source = new EventSource(`dashboard/events?${query}`);
  source.onopen = () => {
    heardAt = performance.now();
    failures = 0;
  };
  source.onerror = () => {
    failures += 1;
    // A stream may end: in a rolling restart, the next server is there at once.
    if (failures === 1) show("connecting", "reconnecting");
    else show("closed", "the server is gone", "The server does not answer. Trying again.");
    // It tries again by itself, except after an answer that is not a stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000 * AGAIN_SECONDS);
  };
  source.addEventListener("sample", (event) => {
    lastEventId = event.lastEventId;
    addSample(JSON.parse(event.data));
  });
  source.addEventListener("summary", (event) => showSummary(JSON.parse(event.data)));
}

// `trouble` says what is wrong, and how old the numbers are.
function show(state, text, trouble = "") {
  const last = samples.at(-1);
  const since = last && trouble ? ` Last heard from at ${clock(last.at)}.` : "";
  byId("state").dataset.state = state;
  setText("state", text);
  setText("trouble", trouble + since);
  byId("trouble").hidden = !trouble;
  document.body.classList.toggle("stale", Boolean(trouble));
}

// Only if it changed, so that a screen reader announces it once.
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

// --- The numbers ---

let drawing = false;

function addSample(sample) {
  heardAt = performance.now();
  samples.push(sample);
  const oldest = sample.at - MINUTES_SHOWN * 60_000;
  while (samples[0].at < oldest) samples.shift();
  // A replay brings hundreds at once: draw them together.
  if (!drawing) requestAnimationFrame(draw);
  drawing = true;
}

function draw() {
  drawing = false;
  const now = samples.at(-1);
  show("open", `live, ${clock(now.at)}`);
  setText("streams", whole(now.streams));
  setText("calls", now.calls < 10 && now.calls % 1 ? now.calls.toFixed(1) : whole(now.calls));
  for (const id of ["p50", "p95"]) setTime(id, now[id]);
  setText("dropped", whole(now.dropped));
  setText("late", whole(now.late));
  setText("worst", now.late ? `The worst was late by ${now.worst} s.` : "Late is more than 0.1 s.");
  setTime("loop_late", Math.max(0, now.loop_late));
  alarm("dropped", now.dropped > 0 && grew("dropped"));
  alarm("late", now.late > 0 && grew("late"));
  alarm("loop_late", now.loop_late > 100);
  document.querySelectorAll("figure").forEach(drawChart);
}

// Red only while it is news: nobody needs an alarm about a reader dropped last week.
function grew(name) {
  return samples.some((sample, place) => place > 0 && sample[name] > samples[place - 1][name]);
}

function alarm(id, on) {
  byId(id).closest(".card").classList.toggle("alarm", on);
}

function whole(number) {
  return Math.round(number).toLocaleString("en-GB");
}

// A time in milliseconds, with a suitable unit.
function time(milliseconds) {
  if (milliseconds === null) return ["–", ""];
  if (milliseconds >= 1000) return [(milliseconds / 1000).toFixed(1), "s"];
  if (milliseconds >= 10) return [whole(milliseconds), "ms"];
  return [milliseconds.toFixed(milliseconds < 1 ? 2 : 1), "ms"];
}

function setTime(id, milliseconds) {
  const [number, name] = time(milliseconds);
  const unit = document.createElement("span");
  unit.className = "unit";
  unit.textContent = name;
  byId(id).replaceChildren(number, unit);
}

// --- The lines ---

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawChart(figure) {
  const names = figure.dataset.lines.split(" ");
  const most = Math.max(0, ...samples.flatMap((sample) => names.map((name) => sample[name] ?? 0)));
  const isTime = names.includes("p50");
  figure.querySelector(".most").textContent =
    `most: ${isTime ? time(most || null).join(" ").trim() : whole(most)}`;
  const svg = figure.querySelector("svg");
  svg.setAttribute("viewBox", "0 0 300 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(svgElement("line", { x1: 0, x2: 300, y1: 100, y2: 100 }));
  for (const name of names) {
    for (const run of runs(name)) {
      const points = run.map(([x, value]) => `${x.toFixed(1)} ${(100 - 95 * value / (most || 1)).toFixed(1)}`);
      const line = `M${points.join("L")}`;
      const area = `${line}L${run.at(-1)[0].toFixed(1)} 100L${run[0][0].toFixed(1)} 100Z`;
      svg.append(svgElement("path", { class: `area ${name}`, d: area }));
      svg.append(svgElement("path", { class: name, d: line }));
    }
  }
}

// The line in pieces: it has a gap where nothing was received, or where there is no value.
function runs(name) {
  const newest = samples.at(-1).at;
  const found = [];
  let before = -Infinity;
  for (const sample of samples) {
    if (sample[name] === null) continue;
    if (sample.at - before > 1000 * SILENT_SECONDS) found.push([]);
    found.at(-1).push([300 - (newest - sample.at) / (MINUTES_SHOWN * 200), sample[name]]);
    before = sample.at;
  }
  return found;
}

// --- The events by type ---

function showSummary({ types, file, failure }) {
  byId("types").replaceChildren(...types.map(typeRow));
  byId("kept").classList.toggle("bad", Boolean(failure));
  const kept = file === ":memory:" ? "Kept in memory, until the server ends." : `Kept in ${file}.`;
  setText("kept", failure ? `Not written to ${file}: ${failure}.` : kept);
}

function typeRow({ type, events, parts, listeners, waiting, dropped }) {
  const row = document.createElement("tr");
  row.dataset.type = type;
  row.insertCell().textContent = type;
  const of = document.createElement("small");
  const texts = parts.map((part) => `${part.of}: ${whole(part.events)}`);
  of.textContent = texts.map((text) => text.replaceAll(" ", "\u00a0")).join(", ");
  row.cells[0].append(of);
  for (const [name, number] of Object.entries({ events, listeners, waiting, dropped })) {
    const cell = row.insertCell();
    cell.textContent = whole(number);
    cell.dataset.name = name; // on a phone, shown above its number
  }
  row.cells[4].classList.toggle("bad", dropped > 0);
  return row;
}

// A server whose event loop is blocked keeps its connections open, but sends nothing.
setInterval(() => {
  const seconds = (performance.now() - heardAt) / 1000;
  if (source.readyState === EventSource.OPEN && seconds > SILENT_SECONDS) {
    show("closed", "silent", "The connection is open, but nothing comes: is the event loop blocked?");
  }
}, 1000);

listen();
