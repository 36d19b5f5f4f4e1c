//! Changes: who did what.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_types::Role;
use utoipa::{IntoParams, ToSchema};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// When.
    pub at: String,
    /// A key's id, `local` (the token's holder), `configuration` or `tidegate`.
    pub who: String,
    /// With which right.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whose books it touched; absent where it touched the whole gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// What was done: `key_added`, `limit_set`.
    pub action: String,
    /// To what.
    pub object: String,
    /// How it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Changes, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// Of the last 10,000 of the gateway, those that may be seen.
    pub changes: Vec<Change>,
}

/// How many changes to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeQuery {
    /// At most this many: 100 where it is not said, up to 1,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
}

/// The configuration was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What is new, in words.
    pub changed: String,
    /// Keys that have new values, which take effect at the next start; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_next_start: Vec<String>,
}
