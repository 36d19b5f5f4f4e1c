//! Sign-ins, without their tokens.

use serde::{Deserialize, Serialize};
use tidegate_types::KeyId;
use utoipa::ToSchema;

/// A program that is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Login {
    /// Names it in lists and records, as a key's id does.
    #[schema(value_type = String, example = "key_1a1f6a8b2c3d4e5f")]
    pub id: KeyId,
    /// Who acts.
    pub user: String,
    /// Who pays.
    pub organisation: String,
    /// What the program calls itself; empty where it said nothing.
    pub program: String,
    /// The key that confirmed it, with which it ends. Absent: the local user did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub confirmed_by: Option<KeyId>,
    /// It is good on this machine alone, since nobody showed a key or the token for it.
    pub here_only: bool,
    /// When it was confirmed.
    pub created_at: String,
    /// When it last fetched tokens.
    pub renewed_at: String,
    /// When it ends, if it fetches none until then.
    pub ends_at: String,
}

/// Sign-ins that have not ended, in the order in which they were confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Logins {
    /// The sign-ins.
    pub logins: Vec<Login>,
}

/// A yes or a no to a program that waits to be signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginDecision {
    /// The code that it shows, like `WDJB-MJHT`.
    pub code: String,
    /// Yes or no.
    pub approve: bool,
    /// Whom it is signed in as; left out: oneself. For the token's holder and admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Who pays; left out: one's own organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
}

/// A code is a right while it is open.
impl std::fmt::Debug for LoginDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginDecision")
            .field("approve", &self.approve)
            .field("user", &self.user)
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginDecided {
    /// Whether it was a yes.
    pub approved: bool,
    /// What the program calls itself; empty where it said nothing.
    pub program: String,
    /// Where it asked from.
    pub from: String,
    /// Whom it is signed in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
}

/// A sign-in that was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginEnded {
    /// Which.
    #[schema(value_type = String, example = "key_1a1f6a8b2c3d4e5f")]
    pub id: KeyId,
}
