// The server under test: the real binary with its demo, and hostile telemetry beside it.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";

const DEMO_SENT = "demo history sent";
const READY_MS = 240_000;

/** Starts the binary with `--demo` on free ports; resolves when its hour of history is in. */
export const start = (binary) => serve(binary, ["--demo"], DEMO_SENT);

/** Starts the binary without telemetry. */
export const start_empty = (binary) => serve(binary, [], "");

/** Starts the binary as it asks who one is; `first_token` reads the token of the first admin from its folder. */
export async function start_with_logins(binary) {
  const server = await serve(binary, ["--auth", "required"], "");
  return { ...server, first_token: () => readFileSync(join(server.folder, "first-admin-token"), "utf8").match(/trv_[\w-]+/)[0] };
}

/** Starts the binary on free ports; resolves when it told its addresses and the text that is awaited. */
async function serve(binary, options, awaited) {
  const folder = mkdtempSync(join(tmpdir(), "trivium-ui-"));
  const child = spawn(binary, ["serve", ...options, "--data-dir", folder, "--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "pipe"] });
  const said = { text: "" };
  const addresses = await new Promise((resolve, reject) => {
    const failed = (why) => reject(new Error(`${why}\n${said.text.slice(-2000)}`));
    const timer = setTimeout(() => failed("the server was not ready in time"), READY_MS);
    let found;
    const look = (chunk) => {
      said.text += chunk;
      const line = said.text.split("\n").find((each) => each.startsWith('{"'));
      if (line && !found) found = JSON.parse(line);
      if (found && said.text.includes(awaited)) { clearTimeout(timer); resolve(found); }
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.on("exit", (code) => failed(`the server ended with ${code}`));
  });
  return { folder, http: `http://${addresses.http}`, otlp: `http://${addresses.otlp_http}`, stop: () => { child.removeAllListeners("exit"); child.kill("SIGKILL"); rmSync(folder, { recursive: true, force: true, maxRetries: 5 }); } };
}

const TYPES = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".html": "text/html; charset=utf-8" };

/** Serves ui/dist with the policy of the binary in front of a server that was built before it, to try a change quickly. */
export async function serve_dist(api) {
  const root = new URL("../../", import.meta.url).pathname;
  const policy = /POLICY: &str =\s*"([^"]+)"/.exec(readFileSync(join(root, "src/lib.rs"), "utf8"))[1];
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, api).pathname;
    if (/^\/(api|prometheus|alertmanager|metrics|healthz|readyz)(\/|$)/.test(path)) {
      // The page may be closed, or the server stopped, while a query is under way.
      const asked = forward(api + request.url, { method: request.method, headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.on("error", () => response.destroy()).pipe(response);
      });
      asked.on("error", () => response.destroy());
      response.on("close", () => asked.destroy());
      request.pipe(asked);
      return;
    }
    const is_asset = path.startsWith("/assets/") || ["/theme.js", "/favicon.svg"].includes(path);
    const file = join(root, "dist", is_asset ? path : "index.html");
    try {
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-security-policy": policy });
      response.end(readFileSync(file));
    } catch {
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.closeAllConnections() ?? server.close() };
}

/** What must be shown as it is, in every place where telemetry has text. */
export const HOSTILE = {
  body: `<img src=x onerror="window.hacked='body'"><script>window.hacked='body script'</script>{{7*7}} hostile-body-4711`,
  name: `<svg onload="window.hacked='span'">hostile-span`,
  service: `"><script>window.hacked='service'</script>`,
  key: `<b onmouseover="window.hacked='key'">k</b>`,
  value: `javascript:window.hacked='value'//"'><iframe srcdoc="<script>parent.hacked=1</script>">`,
  trace_id: "00000000000000004711000000004711",
  id: "HOSTILE-2026-004711",
};

/** Sends one trace with a log record whose every text is hostile, and a metric of the same service. */
export async function send_hostile(otlp) {
  const now = BigInt(Date.now() - 5_000) * 1_000_000n;
  const text = (value) => ({ stringValue: value });
  const attributes = [{ key: HOSTILE.key, value: text(HOSTILE.value) }, { key: "order.id", value: text(HOSTILE.id) }, { key: "exception.type", value: text(HOSTILE.body) }];
  const resource = { attributes: [{ key: "service.name", value: text(HOSTILE.service) }, { key: "service.version", value: text(HOSTILE.value) }] };
  const ids = { traceId: HOSTILE.trace_id, spanId: "4711000000004711" };
  const span = (more) => ({ ...ids, name: HOSTILE.name, kind: 2, startTimeUnixNano: String(now), endTimeUnixNano: String(now + 5_000_000n), attributes,
    status: { code: 2, message: HOSTILE.body }, events: [{ timeUnixNano: String(now), name: HOSTILE.name, attributes }], links: [{ traceId: HOSTILE.trace_id, spanId: "4711000000004712", attributes }], ...more });
  const post = async (signal, body) => {
    const answer = await fetch(`${otlp}/v1/${signal}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${signal}: ${answer.status} ${await answer.text()}`);
  };
  await post("traces", { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: HOSTILE.name }, spans: [span(), span({ spanId: "4711000000004713", parentSpanId: ids.spanId })] }] }] });
  await post("logs", { resourceLogs: [{ resource, scopeLogs: [{ scope: { name: HOSTILE.name }, logRecords: [{ ...ids, timeUnixNano: String(now), severityNumber: 17, severityText: HOSTILE.body, body: text(HOSTILE.body), attributes }] }] }] });
  await post("metrics", { resourceMetrics: [{ resource, scopeMetrics: [{ metrics: [{ name: "hostile.requests", description: HOSTILE.body, unit: "1", sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ startTimeUnixNano: String(now), timeUnixNano: String(now + 1_000_000n), asInt: "1", attributes }] } }] }] }] });
}

/** A trace of so many spans, nested in part. */
export async function send_large(otlp, count) {
  const now = BigInt(Date.now() - 60_000) * 1_000_000n;
  const trace_id = "0000000000000000aaaa000000010000";
  const id = (index) => (index + 1).toString(16).padStart(16, "0");
  for (let from = 0; from < count; from += 2_000) {
    const spans = Array.from({ length: Math.min(2_000, count - from) }, (_, offset) => {
      const index = from + offset;
      const start = now + BigInt(index) * 100_000n;
      return { traceId: trace_id, spanId: id(index), ...(index > 0 ? { parentSpanId: id(index % 10 === 0 ? 0 : index - 1) } : {}), name: `step ${index}`, kind: 1,
        startTimeUnixNano: String(start), endTimeUnixNano: String(index === 0 ? now + BigInt(count) * 100_000n : start + 90_000n), attributes: [{ key: "index", value: { intValue: String(index) } }] };
    });
    const answer = await fetch(`${otlp}/v1/traces`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ resourceSpans: [{ resource: { attributes: [{ key: "service.name", value: { stringValue: "large" } }] }, scopeSpans: [{ spans }] }] }) });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  }
  return trace_id;
}

/** Traces of so many services that call each other in some layers. */
export async function send_mesh(otlp, count) {
  const name = (index) => `mesh-${String(index).padStart(2, "0")}-${["gateway", "orders", "recommendations", "user-profile", "pricing"][index % 5]}`;
  const now = BigInt(Date.now() - 20_000) * 1_000_000n;
  const spans = new Map();
  for (let trace = 0; trace < 60; trace++) {
    const trace_id = (0xbbbb_0000 + trace).toString(16).padStart(32, "0");
    let [service, parent] = [trace % 4, ""];
    for (let depth = 0; depth < 7 && service < count; depth++) {
      const span_id = (trace * 16 + depth + 1).toString(16).padStart(16, "0");
      const failed = service % 17 === 9;
      const list = spans.get(service) ?? spans.set(service, []).get(service);
      list.push({ traceId: trace_id, spanId: span_id, ...(parent ? { parentSpanId: parent } : {}), name: `GET /${depth}`, kind: 2, startTimeUnixNano: String(now), endTimeUnixNano: String(now + BigInt(50 - depth) * 1_000_000n), ...(failed ? { status: { code: 2 } } : {}) });
      parent = span_id;
      service = 4 + depth * 8 + ((trace * 5 + depth * 3) % 8);
    }
  }
  // Every service has at least one span, so that all stand on the map.
  for (let service = 0; service < count; service++) if (!spans.has(service)) spans.set(service, [{ traceId: (0xcccc_0000 + service).toString(16).padStart(32, "0"), spanId: "00000000000000aa", name: "GET /", kind: 2, startTimeUnixNano: String(now), endTimeUnixNano: String(now + 1_000_000n) }]);
  const resourceSpans = [...spans].map(([service, list]) => ({ resource: { attributes: [{ key: "service.name", value: { stringValue: name(service) } }] }, scopeSpans: [{ spans: list }] }));
  const answer = await fetch(`${otlp}/v1/traces`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ resourceSpans }) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}
