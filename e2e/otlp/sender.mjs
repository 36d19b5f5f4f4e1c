// OpenTelemetry's SDK for JavaScript, which sends spans and logs until all of them are taken.
//
//     sender.mjs PROTOCOL ENDPOINT RECORDS
//
// PROTOCOL is `grpc`, `http/protobuf` or `http/json`. A batch that is not taken is sent again, as it is. The last line says how
// often that was.

import { createRequire } from "node:module";
import path from "node:path";

// The packages are installed elsewhere.
const require = createRequire(path.join(process.env.NODE_MODULES, "here.js"));
const { context, trace } = require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");

const [protocol, endpoint, count] = process.argv.slice(2);
const records = Number(count);
const kind = { grpc: "grpc", "http/protobuf": "proto", "http/json": "http" }[protocol];
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${kind}`);
const { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } = require("@opentelemetry/sdk-trace");

const at = (signal) => (protocol === "grpc" ? endpoint : `${endpoint}/v1/${signal}`);
const compression = protocol === "http/json" ? "none" : "gzip";
const spansTo = new OTLPTraceExporter({ url: at("traces"), timeoutMillis: 2000, compression });
const logsTo = new OTLPLogExporter({ url: at("logs"), timeoutMillis: 2000, compression });

const BATCH = 512;
const resource = resourceFromAttributes({ "service.name": `node ${protocol}` });
const spans = new InMemorySpanExporter();
const logs = new InMemoryLogRecordExporter();

const tracer = new TracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }).getTracer("e2e", "1");
const logger = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: logs })] }).getLogger("e2e", "1");

for (let number = 0; number < records; number++) {
    const attributes = { sequence: number, "session.id": `s-${number % 3}` };
    const span = tracer.startSpan(`work ${number % 7}`, { attributes });
    logger.emit({
        severityNumber: SeverityNumber.INFO,
        body: `record ${number} is here`,
        attributes: { sequence: number },
        context: trace.setSpan(context.active(), span),
    });
    span.end();
}
// They come to the exporter in the next turns of the loop.
const made = () => spans.getFinishedSpans().length + logs.getFinishedLogRecords().length;
while (made() < 2 * records) {
    await new Promise((resolve) => setTimeout(resolve, 20));
}

let refused = 0;

/** Until it is taken: whoever started this ends it where that is never. */
async function send(exporter, batch) {
    for (;;) {
        const result = await new Promise((resolve) => exporter.export(batch, resolve));
        if (result.code === 0) return;
        refused += 1;
        if (refused === 1) console.log("refused for the first time");
        await new Promise((resolve) => setTimeout(resolve, 200));
    }
}

const finishedSpans = spans.getFinishedSpans();
const finishedLogs = logs.getFinishedLogRecords();
if (finishedSpans.length !== records || finishedLogs.length !== records) {
    throw new Error(`${finishedSpans.length} spans and ${finishedLogs.length} logs were made`);
}
for (let start = 0; start < records; start += BATCH) {
    await send(spansTo, finishedSpans.slice(start, start + BATCH));
    await send(logsTo, finishedLogs.slice(start, start + BATCH));
}
console.log(`refused ${refused}`);
process.exit(0);
