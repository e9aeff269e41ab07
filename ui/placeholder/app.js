// The page before the UI of issue 5: one box over the public API. All telemetry goes through textContent, never markup.
const query = document.getElementById("query");
const statusLine = document.getElementById("status");
const results = document.getElementById("results");

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

const time = (nanos) => new Date(Number(BigInt(nanos) / 1000000n)).toISOString().slice(0, 23).replace("T", " ");
const millis = (nanos) => (nanos == null ? "" : `${(Number(nanos) / 1e6).toFixed(1)} ms`);
const looksLikeId = (text) => /^\S{5,}$/.test(text) && (text.match(/[0-9]/g) || []).length >= 4 && !text.includes(":");

function search(text) {
  query.value = text;
  location.hash = encodeURIComponent(text);
}

function idLink(id) {
  return element("a", { href: `#${encodeURIComponent(id)}`, textContent: id });
}

function warn(answer) {
  for (const text of answer.warnings ?? []) results.append(element("p", { className: "warn", textContent: text }));
}

async function ask(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.message ?? answer.statusText);
  return body;
}

function logRow(log) {
  const level = Number(log.severity_number) >= 17 ? "error" : Number(log.severity_number) >= 13 ? "warn" : "";
  const body = typeof log.body === "string" ? log.body : JSON.stringify(log.body);
  return element("tr", { className: level },
    element("td", { className: "time", textContent: time(log.time) }),
    element("td", { className: "service", textContent: log.service }),
    element("td", { className: "body" }, body, " ", log.trace_id ? idLink(log.trace_id) : ""));
}

function spanRow(span, start, total) {
  const bar = element("div", { className: `bar ${span.status?.code === "error" ? "error" : ""}` });
  const fill = element("i");
  fill.style.left = `${(100 * Number(BigInt(span.start_time) - start)) / total}%`;
  fill.style.width = `${(100 * Number(span.duration ?? 0)) / total}%`;
  bar.append(fill);
  const name = element("td", { className: "body", textContent: span.name });
  // Deeper levels are not indented further: on a phone there would be no room left for the name.
  name.style.paddingLeft = `${Math.min(span.depth ?? 0, 10) * 0.6}rem`;
  return element("tr", { className: "span" },
    element("td", { className: "service", textContent: span.service }),
    name,
    element("td", { className: "timeline" }, bar),
    element("td", { className: "time", textContent: millis(span.duration) }));
}

function showTrace(trace) {
  const spans = trace.spans ?? [];
  results.append(element("h2", {}, "Trace ", idLink(trace.trace_id)));
  if (spans.length > 0) {
    const starts = spans.map((span) => BigInt(span.start_time));
    const start = starts.reduce((a, b) => (a < b ? a : b));
    const total = Math.max(1, ...spans.map((span) => Number(BigInt(span.start_time) - start) + Number(span.duration ?? 0)));
    results.append(element("table", {}, ...spans.map((span) => spanRow(span, start, total))));
  }
  if (trace.logs?.length) results.append(element("table", {}, ...trace.logs.map(logRow)));
}

async function showStory(id) {
  const story = await ask(`/api/v1/correlate/${encodeURIComponent(id)}`);
  const counts = story.counts;
  statusLine.textContent = `${counts.traces} traces, ${counts.spans} spans, ${counts.logs} log records, ${counts.exemplars} exemplars bear ${id} (${story.elapsed_ms} ms)`;
  warn(story);
  story.traces.forEach(showTrace);
  if (story.logs?.length) {
    results.append(element("h2", { textContent: "Log records outside any trace" }), element("table", {}, ...story.logs.map(logRow)));
  }
  return counts.logs + counts.spans + counts.exemplars > 0;
}

async function showLogs(text) {
  const found = await ask(`/api/v1/logs?limit=200&query=${encodeURIComponent(text)}`);
  statusLine.textContent = `${found.logs.length} newest log records (${found.elapsed_ms} ms)`;
  warn(found);
  results.append(element("table", {}, ...found.logs.map(logRow)));
}

async function show() {
  const text = decodeURIComponent(location.hash.slice(1));
  query.value = text;
  results.replaceChildren();
  statusLine.textContent = "…";
  try {
    if (!(looksLikeId(text) && (await showStory(text)))) await showLogs(text);
  } catch (error) {
    statusLine.textContent = error.message;
  }
}

async function showServices() {
  const answer = await ask("/api/v1/services");
  const chips = answer.services.map((service) => {
    const name = service.name ?? service.service;
    return element("button", { className: "chip", textContent: name, onclick: () => search(`service:${name}`) });
  });
  document.getElementById("services").replaceChildren(element("div", { className: "chips" }, ...chips));
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (location.hash === `#${encodeURIComponent(query.value.trim())}`) show();
  else search(query.value.trim());
});
addEventListener("hashchange", show);
show();
showServices().catch((error) => { statusLine.textContent = error.message; });
