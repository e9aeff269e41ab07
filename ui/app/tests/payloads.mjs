// Forty ways to have a page run text as script, after OWASP's and PortSwigger's collections. Each calls what sets `window.hacked`.
const RUN = "window.hacked=1";

export const PAYLOADS = [
  `<script>${RUN}</script>`,
  `"><script>${RUN}</script>`,
  `'><script>${RUN}</script>`,
  `</script><script>${RUN}</script>`,
  `</title><script>${RUN}</script>`,
  `</textarea><script>${RUN}</script>`,
  `--><script>${RUN}</script><!--`,
  `]]><script>${RUN}</script>`,
  `<ScRiPt>${RUN}</sCrIpT>`,
  `<scr<script>ipt>${RUN}</scr</script>ipt>`,
  `<script src="data:text/javascript,${RUN}"></script>`,
  `<script src=//127.0.0.1:1/x.js></script>`,
  `<img src=x onerror=${RUN}>`,
  `<img src=x onerror="${RUN}">`,
  `"><img src=x onerror=${RUN}>`,
  `<img/src=x/onerror=${RUN}>`,
  `<img src=x:x onerror=eval('${RUN}')>`,
  `<svg onload=${RUN}>`,
  `<svg/onload=${RUN}>`,
  `<svg><script>${RUN}</script></svg>`,
  `<svg><animate onbegin=${RUN} attributeName=x dur=1s>`,
  `<math><mtext><table><mglyph><style><img src onerror=${RUN}></style></mglyph></table></mtext></math>`,
  `<body onload=${RUN}>`,
  `<iframe src="javascript:parent.${RUN}"></iframe>`,
  `<iframe srcdoc="<script>parent.${RUN}</script>"></iframe>`,
  `<object data="javascript:${RUN}"></object>`,
  `<embed src="javascript:${RUN}">`,
  `<a href="javascript:${RUN}" autofocus onfocus=${RUN}>x</a>`,
  `javascript:${RUN}`,
  `data:text/html,<script>opener.${RUN}</script>`,
  `<input autofocus onfocus=${RUN}>`,
  `<details open ontoggle=${RUN}>x</details>`,
  `<video><source onerror=${RUN}></video>`,
  `<marquee onstart=${RUN}>x</marquee>`,
  `<style>@import 'javascript:${RUN}';</style>`,
  `<base href="javascript:${RUN}//">`,
  `<meta http-equiv="refresh" content="0;url=javascript:${RUN}">`,
  `{{constructor.constructor('${RUN}')()}}`,
  `\${${RUN}}<template><script>${RUN}</script></template>`,
  `&lt;script&gt;${RUN}&lt;/script&gt;\u003cscript\u003e${RUN}\u003c/script\u003e`,
];

/** The trace of a payload. */
export const trace_of = (number) => (0x4712_0000 + number).toString(16).padStart(32, "0");

/** Sends for each payload a span, a log record and a metric, in which it stands wherever telemetry has text. */
export async function send_payloads(otlp) {
  const now = BigInt(Date.now() - 5_000) * 1_000_000n;
  for (const [number, payload] of PAYLOADS.entries()) {
    const text = { stringValue: payload };
    const attributes = [{ key: payload, value: text }, { key: "exception.type", value: text }, { key: "exception.stacktrace", value: text }, { key: "http.route", value: text }, { key: "url.full", value: text }];
    const resource = { attributes: [{ key: "service.name", value: text }, { key: "service.version", value: text }, { key: payload, value: text }] };
    const scope = { name: payload, version: payload };
    const ids = { traceId: trace_of(number), spanId: trace_of(number).slice(16) };
    const times = { startTimeUnixNano: String(now), endTimeUnixNano: String(now + 5_000_000n) };
    const span = { ...ids, ...times, name: payload, kind: 2, traceState: payload, attributes, status: { code: 2, message: payload }, events: [{ timeUnixNano: String(now), name: payload, attributes }], links: [{ ...ids, traceState: payload, attributes }] };
    const record = { ...ids, timeUnixNano: String(now), severityNumber: 17, severityText: payload, body: text, attributes, eventName: payload };
    const point = { startTimeUnixNano: String(now), timeUnixNano: String(now + 1_000_000n), asInt: "1", attributes };
    const metric = { name: "payload.requests", description: payload, unit: payload, sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [point] } };
    for (const [signal, body] of Object.entries({
      traces: { resourceSpans: [{ resource, scopeSpans: [{ scope, spans: [span] }] }] },
      logs: { resourceLogs: [{ resource, scopeLogs: [{ scope, logRecords: [record] }] }] },
      metrics: { resourceMetrics: [{ resource, scopeMetrics: [{ scope, metrics: [metric] }] }] },
    })) {
      const answer = await fetch(`${otlp}/v1/${signal}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${signal}: ${answer.status} ${await answer.text()}`);
    }
  }
}
