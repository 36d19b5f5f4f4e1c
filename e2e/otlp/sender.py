"""OpenTelemetry's SDK for Python, which sends spans and logs until all of them are taken.

    sender.py PROTOCOL ENDPOINT RECORDS

PROTOCOL is `grpc` or `http/protobuf`. A batch that is not taken is sent again, as it is. The last line says how often that was.
"""

import logging
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

protocol, endpoint, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    spans_to = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=2)
    logs_to = OTLPLogExporter(endpoint=endpoint, insecure=True, timeout=2)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    spans_to = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=Compression.Gzip, timeout=2)
    logs_to = OTLPLogExporter(endpoint=f"{endpoint}/v1/logs", compression=Compression.Gzip, timeout=2)

# What is refused is expected here.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

BATCH = 512
resource = Resource.create({"service.name": f"python {protocol}"})
spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
tracing = TracerProvider(resource=resource)
tracing.add_span_processor(SimpleSpanProcessor(spans))
tracer = tracing.get_tracer("e2e", "1")
logging_provider = LoggerProvider(resource=resource)
logging_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
logger = logging_provider.get_logger("e2e", "1")

for number in range(records):
    with tracer.start_as_current_span(f"work {number % 7}", attributes={"sequence": number, "session.id": f"s-{number % 3}"}):
        now = time.time_ns()
        logger.emit(
            LogRecord(
                timestamp=now,
                severity_number=SeverityNumber.INFO,
                body=f"record {number} is here",
                attributes={"sequence": number},
            )
        )

refused = 0


def send(exporter, batch):
    """Until it is taken: whoever started this ends it where that is never."""
    global refused
    while exporter.export(batch).name != "SUCCESS":
        refused += 1
        if refused == 1:
            print("refused for the first time", flush=True)
        time.sleep(0.2)


finished_spans, finished_logs = spans.get_finished_spans(), logs.get_finished_logs()
for start in range(0, records, BATCH):
    send(spans_to, finished_spans[start : start + BATCH])
    send(logs_to, finished_logs[start : start + BATCH])
print(f"refused {refused}")
