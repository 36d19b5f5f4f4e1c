//! Settings for Claude Code where it signs in.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::config::{schema::Reader, sections};

/// The models that Claude Code asks for with a key of its own. Where it is signed in to a gateway it
/// would ask for older ones.
const MODELS: [(&str, &str); 4] = [
    ("ANTHROPIC_MODEL", "claude-opus-5-5"),
    ("ANTHROPIC_DEFAULT_OPUS_MODEL", "claude-opus-5-5"),
    ("ANTHROPIC_DEFAULT_SONNET_MODEL", "claude-sonnet-5-5"),
    ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "claude-haiku-5-5"),
];

/// What has it send telemetry. Where it is signed in it sends that to the gateway alone.
const TELEMETRY: [(&str, &str); 6] = [
    ("CLAUDE_CODE_ENABLE_TELEMETRY", "1"),
    ("CLAUDE_CODE_ENHANCED_TELEMETRY_BETA", "1"),
    ("OTEL_METRICS_EXPORTER", "otlp"),
    ("OTEL_LOGS_EXPORTER", "otlp"),
    ("OTEL_TRACES_EXPORTER", "otlp"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
];

/// The largest file of settings: each start of each Claude Code fetches it.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Makes the settings; `None` where there are to be none.
pub(super) fn check(raw: &sections::ClaudeCode, reader: &mut Reader) -> Option<Value> {
    let mut settings = match &raw.settings_file {
        Some(file) => read(file).unwrap_or_else(|message| {
            let key = "claude_code.settings_file".to_owned();
            reader.refuse(reader.origin(&key), key, message);
            Map::new()
        }),
        None => Map::new(),
    };
    let mut env = match settings.remove("env") {
        Some(Value::Object(env)) => env,
        _ => Map::new(),
    };
    let telemetry = TELEMETRY.into_iter().filter(|_| raw.telemetry);
    for (name, value) in MODELS.into_iter().chain(telemetry) {
        env.entry(name).or_insert_with(|| Value::from(value));
    }
    for (name, value) in &raw.env.0 {
        if !is_variable(name) {
            let key = "claude_code.env".to_owned();
            let message = format!(
                "`{name}` is no name of a variable; use letters, digits and underscores, like ANTHROPIC_MODEL"
            );
            reader.refuse(reader.origin(&key), key, message);
        }
        if value.is_empty() {
            env.remove(name);
        } else {
            env.insert(name.clone(), Value::from(value.as_str()));
        }
    }
    settings.insert("env".to_owned(), Value::Object(env));
    if let Some(command) = &raw.status_line {
        let line = json!({ "type": "command", "command": command });
        settings.insert("statusLine".to_owned(), line);
    }
    raw.managed.then_some(Value::Object(settings))
}

fn is_variable(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    !name.is_empty() && !name.starts_with(|it: char| it.is_ascii_digit()) && name.bytes().all(plain)
}

fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let name = file.display();
    let unreadable = |error: std::io::Error| format!("`{name}` can't be read: {error}");
    let bytes = fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "`{name}` has {bytes} bytes, more than {FILE_BYTES_MAX}: each start of Claude Code would fetch them"
        ));
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let value =
        serde_json::from_str(&text).map_err(|error| format!("`{name}` is no JSON: {error}"))?;
    match value {
        Value::Object(settings) => match settings.get("env") {
            None | Some(Value::Object(_)) => Ok(settings),
            Some(_) => Err(format!("`{name}`: `env` must be an object, in braces")),
        },
        _ => Err(format!("`{name}` must hold one JSON object, in braces")),
    }
}
