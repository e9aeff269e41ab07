// Sends all three signals with the official JavaScript SDK: node export.mjs grpc|http-protobuf|http-json ENDPOINT MARKER
// Prints the trace ID. Fails when an export fails.
import { trace, context, SpanStatusCode } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const [protocol, endpoint, marker] = process.argv.slice(2);
const packages = { grpc: "grpc", "http-protobuf": "proto", "http-json": "http" };
const flavour = packages[protocol];
if (!flavour) throw new Error(`unknown protocol ${protocol}`);

const failures = [];
function checked(exporter) {
  const send = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    send(items, (result) => {
      if (result.code !== 0) failures.push(result.error ?? new Error("export failed"));
      done(result);
    });
  return exporter;
}
const options = (signal) => ({ url: protocol === "grpc" ? endpoint : `${endpoint}/v1/${signal}` });
const load = async (signal, name) => (await import(`@opentelemetry/exporter-${signal}-otlp-${flavour}`))[name];
const TraceExporter = await load("trace", "OTLPTraceExporter");
const MetricExporter = await load("metrics", "OTLPMetricExporter");
const LogExporter = await load("logs", "OTLPLogExporter");

const resource = resourceFromAttributes({ "service.name": "javascript-client", "test.marker": marker });
const tracers = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(checked(new TraceExporter(options("traces"))))] });
const loggers = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: checked(new LogExporter(options("logs"))) })] });
const reader = new PeriodicExportingMetricReader({ exporter: checked(new MetricExporter(options("metrics"))), exportIntervalMillis: 3_600_000 });
const meters = new MeterProvider({ resource, readers: [reader] });

const span = tracers.getTracer("client").startSpan("javascript span", { attributes: { "order.id": marker, attempt: 3, ok: true, ratio: 0.5 } });
span.addEvent("cache miss", { key: "k1" });
span.setStatus({ code: SpanStatusCode.ERROR, message: "declined" });
const active = trace.setSpan(context.active(), span);
loggers.getLogger("client").emit({
  context: active, severityNumber: SeverityNumber.WARN, severityText: "WARN", body: `javascript log for ${marker}`, attributes: { "order.id": marker },
});
span.end();
const meter = meters.getMeter("client");
meter.createCounter("javascript.counter", { unit: "{call}" }).add(7, { marker });
meter.createHistogram("javascript.histogram", { unit: "s" }).record(0.25, { marker });
meter.createGauge("javascript.gauge").record(1.5, { marker });

// Shutting down exports what is left. A flush before it would send the metrics twice, at two times.
await Promise.all([tracers.shutdown(), loggers.shutdown(), meters.shutdown()]);
if (failures.length > 0) throw failures[0];
console.log(span.spanContext().traceId);
