//! One sign-in: whose it is, and the hashes of its tokens.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_ledger::keys::{self, Key};
use tidegate_types::{KeyId, Priority, Role, Secret, Timestamp};

use crate::{Half, RANDOM_BYTES, secret};

/// How long an access token is good: what a stolen one is worth. Claude Code fetches the next one
/// five minutes before that.
pub const ACCESS_LIFE: Duration = Duration::from_hours(1);

/// How long a refresh token is good that nobody uses: a machine that was off for longer signs in
/// again.
pub(crate) const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);

/// How long a used refresh token may be used again: programs that share a file of tokens fetch the
/// next ones at the same moment, and an answer may be lost. Later it is taken for stolen.
pub(crate) const AGAIN: Duration = Duration::from_mins(1);

/// Refresh tokens that are known of one sign-in, used ones among them: eight programs that share one
/// file, each with the one before.
const REFRESH_MAX: usize = 16;

/// Access tokens that are known of one sign-in, for the same reason.
const ACCESS_MAX: usize = 16;

/// What refresh tokens begin with.
pub(crate) const REFRESH_PREFIX: &str = "tg-refresh-";

/// For whom somebody signed in, and how they were known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who acts.
    pub user: Arc<str>,
    /// The key of whoever confirmed it, with which the sign-in ends; `None`: the local user did.
    pub by: Option<KeyId>,
    /// It was confirmed by nobody but a request from this machine, and is good on this machine.
    pub here_only: bool,
    /// Of calls that say nothing.
    pub default_priority: Option<Priority>,
    /// The most that calls may claim.
    pub highest_priority: Priority,
    /// Of calls that say nothing.
    pub default_task_type: Option<Arc<str>>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) hash: [u8; 32],
    pub(crate) until: Timestamp,
    /// When it was used, if it may be used once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<Timestamp>,
}

/// A sign-in. It holds no secret, and is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Names it in lists and records, as a key's id does.
    pub id: KeyId,
    /// Whose it is.
    pub holder: Holder,
    /// What the program calls itself; empty where it said nothing.
    pub surface: Box<str>,
    /// When it was confirmed.
    pub created_at: Timestamp,
    /// When it last fetched tokens.
    pub renewed_at: Timestamp,
    pub(crate) refresh: Vec<Token>,
    pub(crate) access: Vec<Token>,
}

/// What a program is given. The only place where they are in the clear.
#[derive(Debug)]
pub struct Tokens {
    /// What calls carry.
    pub access: Secret<String>,
    /// What fetches the next ones, once.
    pub refresh: Secret<String>,
    /// Whose they are.
    pub login: Login,
}

impl Login {
    pub(crate) fn new(id: KeyId, holder: Holder, surface: Box<str>, now: Timestamp) -> Self {
        Self {
            id,
            holder,
            surface,
            created_at: now,
            renewed_at: now,
            refresh: Vec::new(),
            access: Vec::new(),
        }
    }

    /// Makes the next tokens.
    pub(crate) fn renew(&mut self, random: &[u8; RANDOM_BYTES], now: Timestamp) -> Tokens {
        let access = secret(keys::ACCESS_PREFIX, random, Half::First);
        let refresh = secret(REFRESH_PREFIX, random, Half::Second);
        let token = |secret: &Secret<String>, life: Duration| Token {
            hash: keys::hash(secret.expose()),
            until: now.after(life),
            used: None,
        };
        self.access.retain(|it| it.until > now);
        self.refresh.retain(|it| it.until > now);
        self.access.push(token(&access, ACCESS_LIFE));
        self.refresh.push(token(&refresh, REFRESH_LIFE));
        let too_many = self.access.len().saturating_sub(ACCESS_MAX);
        self.access.drain(..too_many);
        while self.refresh.len() > REFRESH_MAX {
            // A used one first: an unused one is some program's only way on.
            let oldest = self.refresh.iter().position(|it| it.used.is_some());
            self.refresh.remove(oldest.unwrap_or(0));
        }
        self.renewed_at = now;
        Tokens {
            access,
            refresh,
            login: self.clone(),
        }
    }

    /// When the last of its refresh tokens is over, and the sign-in with it.
    pub fn until(&self) -> Timestamp {
        let untils = self.refresh.iter().map(|it| it.until);
        untils.max().unwrap_or(self.created_at)
    }

    /// It as a key: a caller's, whoever confirmed it.
    pub(crate) fn key(&self, hash: [u8; 32]) -> Key {
        let Holder {
            organisation,
            user,
            default_priority,
            highest_priority,
            default_task_type,
            ..
        } = &self.holder;
        Key {
            id: self.id,
            name: self.surface.to_string(),
            hash,
            role: Role::Caller,
            user: user.to_string(),
            organisation: organisation.to_string(),
            default_priority: *default_priority,
            highest_priority: *highest_priority,
            default_task_type: default_task_type.as_ref().map(ToString::to_string),
            created_at: self.created_at,
            revoked_at: None,
        }
    }
}
