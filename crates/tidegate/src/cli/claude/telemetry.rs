//! Claude Code's own telemetry: sent to the gateway, unless somebody has decided where it goes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Record, is_theirs, members::Members};

/// What is set: events, traces and metrics, by the protocol that the gateway's own address takes.
pub(super) const MEMBERS: [&[&str]; 7] = [
    &["env", "CLAUDE_CODE_ENABLE_TELEMETRY"],
    &["env", "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA"],
    &["env", "OTEL_METRICS_EXPORTER"],
    &["env", "OTEL_LOGS_EXPORTER"],
    &["env", "OTEL_TRACES_EXPORTER"],
    &["env", "OTEL_EXPORTER_OTLP_PROTOCOL"],
    &["env", "OTEL_EXPORTER_OTLP_ENDPOINT"],
];

/// What one of them is set to.
pub(super) fn value<'a>(name: &str, base_url: &'a str) -> &'a str {
    match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => base_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL" => "http/protobuf",
        "CLAUDE_CODE_ENABLE_TELEMETRY" | "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA" => "1",
        _ => "otlp",
    }
}

/// Whether a variable says where telemetry goes, or whether it goes anywhere.
fn decides(name: &str) -> bool {
    name.starts_with("OTEL_EXPORTER_OTLP_") || MEMBERS.iter().any(|it| it[1] == name)
}

/// A variable by which somebody has decided where Claude Code's telemetry goes: in its settings, or in
/// the environment, which they would override.
pub(super) fn decided(
    members: &Members,
    record: &Record,
    (environment, base_url): (&BTreeMap<String, String>, &str),
) -> Option<String> {
    let settings = match members.get(&["env"]) {
        Some(Value::Object(settings)) => settings,
        _ => serde_json::Map::new(),
    };
    let in_settings = settings
        .keys()
        .find(|name| decides(name) && is_theirs(members, record, &["env", name.as_str()]));
    if let Some(name) = in_settings {
        return Some(name.clone());
    }
    // What Claude Code runs has the variables of its settings, ours among them.
    let theirs = environment.iter().find(|(name, set)| {
        decides(name) && !set.is_empty() && set.as_str() != value(name, base_url)
    });
    theirs.map(|(name, _)| name.clone())
}

/// Where Claude Code's telemetry goes, by its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    /// Nowhere.
    Nowhere,
    /// To the gateway.
    Here,
    /// To this address.
    Elsewhere(String),
}

/// Where it goes, by these settings and this environment, for a gateway at this address.
pub(super) fn goes(
    settings: &Value,
    environment: &BTreeMap<String, String>,
    base_url: &str,
) -> Goes {
    let said = |name: &str| {
        let own = settings
            .pointer(&format!("/env/{name}"))
            .and_then(Value::as_str);
        let own = own.or_else(|| environment.get(name).map(String::as_str));
        own.filter(|it| !it.is_empty())
    };
    if said("CLAUDE_CODE_ENABLE_TELEMETRY").is_none_or(|it| it == "0") {
        return Goes::Nowhere;
    }
    match said("OTEL_EXPORTER_OTLP_ENDPOINT") {
        None => Goes::Nowhere,
        Some(it) if it.trim_end_matches('/') == base_url => Goes::Here,
        Some(it) => Goes::Elsewhere(it.to_owned()),
    }
}
