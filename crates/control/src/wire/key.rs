//! Keys, without their secrets but for the one moment in which they are made.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_types::{KeyId, Priority, Role};
use utoipa::ToSchema;

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Names it in lists and records.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    #[schema(value_type = String)]
    pub role: Role,
    /// As whom.
    pub user: String,
    /// Who pays.
    pub organisation: String,
    /// Of calls that say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub default_priority: Option<Priority>,
    /// The most that calls may claim.
    #[schema(value_type = String)]
    pub highest_priority: Priority,
    /// Of calls that say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_task_type: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Since when it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Keys in the order in which they were made, revoked ones too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<Key>,
}

/// What a new key is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What people call it.
    pub name: String,
    /// What it may do.
    #[schema(value_type = String, example = "caller")]
    pub role: Role,
    /// As whom.
    pub user: String,
    /// Who pays. Left out: one's own organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Of calls that say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub default_priority: Option<Priority>,
    /// The most that calls may claim. Left out: high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub highest_priority: Option<Priority>,
    /// Of calls that say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_task_type: Option<String>,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyMade {
    /// The key.
    pub key: Key,
    /// Its secret. It is in this answer and nowhere else: not kept, not shown again.
    pub secret: String,
}

impl fmt::Debug for KeyMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMade")
            .field("key", &self.key)
            .field("secret", &"[redacted]")
            .finish()
    }
}

/// A key that is refused from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRevoked {
    /// Which.
    #[schema(value_type = String)]
    pub id: KeyId,
}
