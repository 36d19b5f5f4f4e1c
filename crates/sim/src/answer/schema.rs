//! The smallest value that a JSON schema allows, for requests that demand structured output.

use serde_json::{Map, Value};

/// Follows `type`, `properties`, `items`, `enum` and `const`; anything else is null. Depth is bounded by
/// the schema's, which the JSON reader bounds at 128.
pub(super) fn instance(schema: &Value) -> Value {
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|it| it.get(0)) {
        return first.clone();
    }
    let kind = schema.get("type");
    let kind = kind.and_then(|it| it.get(0).unwrap_or(it).as_str());
    match kind {
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let fields = properties.into_iter().flatten();
            let fields: Map<String, Value> = fields
                .map(|(name, it)| (name.clone(), instance(it)))
                .collect();
            Value::Object(fields)
        }
        Some("array") => Value::Array(Vec::new()),
        Some("string") => Value::from("tide table"),
        Some("integer" | "number") => Value::from(1),
        Some("boolean") => Value::from(true),
        _ => Value::Null,
    }
}
