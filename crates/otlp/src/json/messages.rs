//! The messages of OTLP: each field with its name, its number and what it holds.

use super::{
    Holds::{self, Bytes, Double, Enum, Fixed32, Fixed64, Flag, Id, Number, Text, Zigzag},
    Message,
};

pub(super) static LOGS_REQUEST: Message = &[("resourceLogs", 1, Holds::Message(&RESOURCE_LOGS))];
pub(super) static RESOURCE_LOGS: Message = &[
    ("resource", 1, Holds::Message(&RESOURCE)),
    ("scopeLogs", 2, Holds::Message(&SCOPE_LOGS)),
    ("schemaUrl", 3, Text),
];
pub(super) static SCOPE_LOGS: Message = &[
    ("scope", 1, Holds::Message(&SCOPE)),
    ("logRecords", 2, Holds::Message(&LOG_RECORD)),
    ("schemaUrl", 3, Text),
];
pub(super) static RESOURCE: Message = &[
    ("attributes", 1, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 2, Number),
];
pub(super) static SCOPE: Message = &[
    ("name", 1, Text),
    ("version", 2, Text),
    ("attributes", 3, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 4, Number),
];
pub(super) static KEY_VALUE: Message = &[("key", 1, Text), ("value", 2, Holds::Message(&ANY))];
pub(super) static ANY: Message = &[
    ("stringValue", 1, Text),
    ("boolValue", 2, Flag),
    ("intValue", 3, Number),
    ("doubleValue", 4, Double),
    ("arrayValue", 5, Holds::Message(&LIST)),
    ("kvlistValue", 6, Holds::Message(&MAP)),
    ("bytesValue", 7, Bytes),
];
pub(super) static LIST: Message = &[("values", 1, Holds::Message(&ANY))];
pub(super) static MAP: Message = &[("values", 1, Holds::Message(&KEY_VALUE))];
pub(super) static LOG_RECORD: Message = &[
    ("timeUnixNano", 1, Fixed64),
    ("severityNumber", 2, Enum(SEVERITIES)),
    ("severityText", 3, Text),
    ("body", 5, Holds::Message(&ANY)),
    ("attributes", 6, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 7, Number),
    ("flags", 8, Fixed32),
    ("traceId", 9, Id),
    ("spanId", 10, Id),
    ("observedTimeUnixNano", 11, Fixed64),
    ("eventName", 12, Text),
];
const SEVERITIES: &[&str] = &[
    "UNSPECIFIED",
    "TRACE",
    "TRACE2",
    "TRACE3",
    "TRACE4",
    "DEBUG",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "INFO",
    "INFO2",
    "INFO3",
    "INFO4",
    "WARN",
    "WARN2",
    "WARN3",
    "WARN4",
    "ERROR",
    "ERROR2",
    "ERROR3",
    "ERROR4",
    "FATAL",
    "FATAL2",
    "FATAL3",
    "FATAL4",
];

pub(super) static TRACE_REQUEST: Message = &[("resourceSpans", 1, Holds::Message(&RESOURCE_SPANS))];
pub(super) static RESOURCE_SPANS: Message = &[
    ("resource", 1, Holds::Message(&RESOURCE)),
    ("scopeSpans", 2, Holds::Message(&SCOPE_SPANS)),
    ("schemaUrl", 3, Text),
];
pub(super) static SCOPE_SPANS: Message = &[
    ("scope", 1, Holds::Message(&SCOPE)),
    ("spans", 2, Holds::Message(&SPAN)),
    ("schemaUrl", 3, Text),
];
pub(super) static SPAN: Message = &[
    ("traceId", 1, Id),
    ("spanId", 2, Id),
    ("traceState", 3, Text),
    ("parentSpanId", 4, Id),
    ("name", 5, Text),
    ("kind", 6, Enum(ROLES)),
    ("startTimeUnixNano", 7, Fixed64),
    ("endTimeUnixNano", 8, Fixed64),
    ("attributes", 9, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 10, Number),
    ("events", 11, Holds::Message(&EVENT)),
    ("droppedEventsCount", 12, Number),
    ("links", 13, Holds::Message(&LINK)),
    ("droppedLinksCount", 14, Number),
    ("status", 15, Holds::Message(&STATUS)),
    ("flags", 16, Fixed32),
];
const ROLES: &[&str] = &[
    "UNSPECIFIED",
    "INTERNAL",
    "SERVER",
    "CLIENT",
    "PRODUCER",
    "CONSUMER",
];
pub(super) static EVENT: Message = &[
    ("timeUnixNano", 1, Fixed64),
    ("name", 2, Text),
    ("attributes", 3, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 4, Number),
];
pub(super) static LINK: Message = &[
    ("traceId", 1, Id),
    ("spanId", 2, Id),
    ("traceState", 3, Text),
    ("attributes", 4, Holds::Message(&KEY_VALUE)),
    ("droppedAttributesCount", 5, Number),
    ("flags", 6, Fixed32),
];
pub(super) static STATUS: Message = &[
    ("message", 2, Text),
    ("code", 3, Enum(&["UNSET", "OK", "ERROR"])),
];

pub(super) static METRICS_REQUEST: Message =
    &[("resourceMetrics", 1, Holds::Message(&RESOURCE_METRICS))];
pub(super) static RESOURCE_METRICS: Message = &[
    ("resource", 1, Holds::Message(&RESOURCE)),
    ("scopeMetrics", 2, Holds::Message(&SCOPE_METRICS)),
    ("schemaUrl", 3, Text),
];
pub(super) static SCOPE_METRICS: Message = &[
    ("scope", 1, Holds::Message(&SCOPE)),
    ("metrics", 2, Holds::Message(&METRIC)),
    ("schemaUrl", 3, Text),
];
pub(super) static METRIC: Message = &[
    ("name", 1, Text),
    ("description", 2, Text),
    ("unit", 3, Text),
    ("gauge", 5, Holds::Message(&NUMBERS)),
    ("sum", 7, Holds::Message(&NUMBERS)),
    ("histogram", 9, Holds::Message(&HISTOGRAM)),
    ("exponentialHistogram", 10, Holds::Message(&EXPONENTIAL)),
    ("summary", 11, Holds::Message(&SUMMARY)),
];
const TEMPORALITIES: &[&str] = &["UNSPECIFIED", "DELTA", "CUMULATIVE"];
pub(super) static NUMBERS: Message = &[
    ("dataPoints", 1, Holds::Message(&NUMBER_POINT)),
    ("aggregationTemporality", 2, Enum(TEMPORALITIES)),
    ("isMonotonic", 3, Flag),
];
pub(super) static NUMBER_POINT: Message = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("asDouble", 4, Double),
    ("exemplars", 5, Holds::Message(&EXEMPLAR)),
    ("asInt", 6, Fixed64),
    ("attributes", 7, Holds::Message(&KEY_VALUE)),
    ("flags", 8, Number),
];
pub(super) static EXEMPLAR: Message = &[
    ("timeUnixNano", 2, Fixed64),
    ("asDouble", 3, Double),
    ("spanId", 4, Id),
    ("traceId", 5, Id),
    ("asInt", 6, Fixed64),
    ("filteredAttributes", 7, Holds::Message(&KEY_VALUE)),
];
pub(super) static HISTOGRAM: Message = &[
    ("dataPoints", 1, Holds::Message(&HISTOGRAM_POINT)),
    ("aggregationTemporality", 2, Enum(TEMPORALITIES)),
];
pub(super) static HISTOGRAM_POINT: Message = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("bucketCounts", 6, Fixed64),
    ("explicitBounds", 7, Double),
    ("exemplars", 8, Holds::Message(&EXEMPLAR)),
    ("attributes", 9, Holds::Message(&KEY_VALUE)),
    ("flags", 10, Number),
    ("min", 11, Double),
    ("max", 12, Double),
];
pub(super) static EXPONENTIAL: Message = &[
    ("dataPoints", 1, Holds::Message(&EXPONENTIAL_POINT)),
    ("aggregationTemporality", 2, Enum(TEMPORALITIES)),
];
pub(super) static EXPONENTIAL_POINT: Message = &[
    ("attributes", 1, Holds::Message(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("scale", 6, Zigzag),
    ("zeroCount", 7, Fixed64),
    ("positive", 8, Holds::Message(&BUCKETS)),
    ("negative", 9, Holds::Message(&BUCKETS)),
    ("flags", 10, Number),
    ("exemplars", 11, Holds::Message(&EXEMPLAR)),
    ("min", 12, Double),
    ("max", 13, Double),
    ("zeroThreshold", 14, Double),
];
pub(super) static BUCKETS: Message = &[("offset", 1, Zigzag), ("bucketCounts", 2, Number)];
pub(super) static SUMMARY: Message = &[("dataPoints", 1, Holds::Message(&SUMMARY_POINT))];
pub(super) static SUMMARY_POINT: Message = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("quantileValues", 6, Holds::Message(&QUANTILE)),
    ("attributes", 7, Holds::Message(&KEY_VALUE)),
    ("flags", 8, Number),
];
pub(super) static QUANTILE: Message = &[("quantile", 1, Double), ("value", 2, Double)];
