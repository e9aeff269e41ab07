"""Sends all three signals with the official Python SDK: export.py grpc|http ENDPOINT MARKER [gzip|none]. Prints the trace ID."""

import logging
import sys

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

protocol, endpoint, marker = sys.argv[1:4]
compression = sys.argv[4] if len(sys.argv) > 4 else "none"

if protocol == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    # Over TLS, the certificates are where the SDK's environment variables say.
    options = {"endpoint": endpoint, "insecure": not endpoint.startswith("https:")}
    options["compression"] = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    per_signal = {signal: options for signal in ("traces", "logs", "metrics")}
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    kind = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    per_signal = {signal: {"endpoint": f"{endpoint}/v1/{signal}", "compression": kind} for signal in ("traces", "logs", "metrics")}

failures = []


def checked(exporter):
    send = exporter.export

    def export(*args, **kwargs):
        result = send(*args, **kwargs)
        if result.name != "SUCCESS":
            failures.append(type(exporter).__name__)
        return result

    exporter.export = export
    return exporter


resource = Resource.create({"service.name": "python-client", "test.marker": marker})
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(SimpleSpanProcessor(checked(OTLPSpanExporter(**per_signal["traces"]))))
loggers = LoggerProvider(resource=resource)
loggers.add_log_record_processor(SimpleLogRecordProcessor(checked(OTLPLogExporter(**per_signal["logs"]))))
reader = PeriodicExportingMetricReader(checked(OTLPMetricExporter(**per_signal["metrics"])), export_interval_millis=3_600_000)
meters = MeterProvider(resource=resource, metric_readers=[reader])

logger = logging.getLogger("client")
logger.setLevel(logging.INFO)
logger.addHandler(LoggingHandler(logger_provider=loggers))
attributes = {"order.id": marker, "attempt": 3, "ok": True, "ratio": 0.5, "tags": ["a", "b"]}
with tracers.get_tracer("client").start_as_current_span("python span", attributes=attributes) as span:
    span.add_event("cache miss", {"key": "k1"})
    span.set_status(Status(StatusCode.ERROR, "declined"))
    logger.warning("python log for %s", marker, extra={"order.id": marker})
    trace_id = span.get_span_context().trace_id

meter = meters.get_meter("client")
meter.create_counter("python.counter", unit="{call}").add(7, {"marker": marker})
meter.create_histogram("python.histogram", unit="s").record(0.25, {"marker": marker})
meter.create_up_down_counter("python.updown").add(-2, {"marker": marker})
# Shutting down exports what is left. A flush before it would send the metrics twice, at two times.
for provider in (tracers, loggers, meters):
    provider.shutdown()
if failures:
    sys.exit(f"exports failed: {failures}")
print(f"{trace_id:032x}")
