//! Who calls: from what a request presents to a user of an organisation, with a role.

mod own;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::FixedState;

use tidegate_ledger::keys::{self, ACCESS_PREFIX, Bearers, Key, LOCAL_PREFIX};
use tidegate_types::{Caller, KeyId, Priority, Role, Timestamp};

use crate::settings::Local;

pub use own::{Credential, Own};
pub use tidegate_ledger::keys::is_ours;

/// What every one of our keys begins with.
pub const KEY_PREFIX: &str = tidegate_ledger::keys::SECRET_PREFIX;

/// What a request shows of who sent it. Header values as they came; absent ones are `None`.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The address it came from.
    pub peer: IpAddr,
    /// `host`.
    pub host: Option<&'a str>,
    /// The page it was sent from, as [`page_origin`] says.
    pub origin: Option<&'a str>,
    /// `x-api-key`.
    pub x_api_key: Option<&'a str>,
    /// `authorization`.
    pub authorization: Option<&'a str>,
    /// `x-tidegate-key`.
    pub tidegate_key: Option<&'a str>,
    /// What `x-api-key`, `authorization` and their like show of the caller's own, all lines of all of them.
    pub own: Own,
}

/// Who calls, as far as headers alone say.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who acts.
    pub user: Arc<str>,
    /// The key it came with.
    pub key: Option<KeyId>,
    /// What it may do.
    pub role: Role,
    /// Whether built-in limits bind it.
    pub caller: Caller,
    /// What the key says of priorities.
    pub default_priority: Option<Priority>,
    /// The highest it may claim.
    pub highest_priority: Priority,
    /// What its tasks are, where nothing says otherwise.
    pub default_task_type: Option<Arc<str>>,
    /// Its own credential.
    pub credential: Credential,
    /// Tells that from others of the same user; 0 where there is none.
    pub credential_mark: u32,
    /// `x-api-key` or `authorization` carries a key of ours and must not go upstream.
    pub credential_is_ours: bool,
}

impl Principal {
    /// Whether it may see and end what belongs to a user of an organisation.
    pub(crate) fn may_touch(&self, organisation: &str, user: &str) -> bool {
        let same_organisation = *self.organisation == *organisation;
        match self.role {
            Role::Operator | Role::Admin => same_organisation || self.key.is_none(),
            Role::Caller => same_organisation && *self.user == *user,
            Role::Viewer | Role::Approver => false,
        }
    }
}

/// Why nobody is known behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// A key that is not, or no longer, one of ours.
    #[error("the Tidegate key is unknown or revoked: ask an admin for one (`tidegate keys add`)")]
    UnknownKey,
    /// The token that changes need, which only the control API takes.
    #[error(
        "the token of the data directory changes things through /api/v1 and sends no calls: send a Tidegate key, or none"
    )]
    LocalToken,
    /// An access token that stands for nobody, or no longer.
    #[error("this sign-in is over or was revoked: sign in again (`/login` in Claude Code)")]
    SignedOut,
    /// No key, and not from this machine.
    #[error("a Tidegate key is needed: send it as x-api-key, as bearer token or as x-tidegate-key")]
    KeyNeeded,
    /// A page of another site, or a name that is not this machine's, stands behind the request.
    #[error(
        "calls without a key are taken from this machine only, and not on behalf of a web page: send a Tidegate key"
    )]
    Foreign,
    /// The key's role sends no calls.
    #[error("this key may look but not call: ask an admin for one with the role caller")]
    MayNotCall,
}

/// The keys in force, by the hash of their secret.
#[derive(Debug, Default)]
pub struct KeyRing(HashMap<[u8; 32], Arc<Key>, FixedState>);

impl KeyRing {
    /// Those of `keys` that are not revoked.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let live = keys.into_iter().filter(|it| it.revoked_at.is_none());
        Self(live.map(|it| (it.hash, Arc::new(it))).collect())
    }

    /// True where no key is in force.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key with this secret.
    pub fn find(&self, secret: &str) -> Option<&Arc<Key>> {
        // The table is asked by hash: how long it takes says nothing about the secret.
        self.0.get(&keys::hash(secret))
    }
}

/// Whether a request without a key may act as the local user: it comes from this machine, names it
/// as its host, and no page of another origin sent it. A page that another port of this machine
/// serves is of another origin too: whose it is nobody knows.
pub fn is_local(presented: &Presented<'_>) -> bool {
    let Some(host) = presented.host.filter(|it| names_loopback(it)) else {
        return false;
    };
    is_loopback(presented.peer)
        && presented.origin.is_none_or(|it| {
            let (_, page) = it.split_once("://").unwrap_or(("", ""));
            page.eq_ignore_ascii_case(host)
        })
}

/// The origin of the page that sent a request, from `origin` and `sec-fetch-site`; empty where only
/// the latter tells that it was a page of another origin. Browsers leave `origin` out of what a page
/// merely loads, and of what it sends without asking for the answer.
pub fn page_origin<'a>(origin: Option<&'a str>, fetch_site: Option<&str>) -> Option<&'a str> {
    match fetch_site {
        // `none`: no page did, but a person.
        None | Some("same-origin" | "none") => origin,
        Some(_) => Some(""),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// `localhost`, `127.0.0.1` or `[::1]`, with or without a port. A name that merely resolves to
/// this machine is somebody else's (DNS rebinding).
fn names_loopback(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => authority,
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    plain.parse::<IpAddr>().is_ok_and(is_loopback)
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What of all that is presented counts.
struct Shown<'a> {
    /// A key of ours, or a token.
    secret: Option<&'a str>,
    /// The caller's own credential.
    own: Own,
    /// `x-api-key` or `authorization` carries the secret.
    in_credential: bool,
}

impl<'a> Shown<'a> {
    fn of(presented: &Presented<'a>) -> Self {
        let token = presented.authorization.and_then(bearer);
        let ours = |it: &&str| is_ours(it.as_bytes());
        let in_credential = presented.x_api_key.filter(ours).or(token.filter(ours));
        let own = match in_credential {
            Some(_) => Own::default(),
            None => presented.own,
        };
        Self {
            secret: presented.tidegate_key.or(in_credential),
            own,
            in_credential: in_credential.is_some(),
        }
    }

    fn stands_for(&self, key: &Key) -> Principal {
        Principal {
            organisation: Arc::from(key.organisation.as_str()),
            user: Arc::from(key.user.as_str()),
            key: Some(key.id),
            role: key.role,
            caller: Caller::Asking,
            default_priority: key.default_priority,
            highest_priority: key.highest_priority,
            default_task_type: key.default_task_type.as_deref().map(Arc::from),
            credential: self.own.kind,
            credential_mark: self.own.mark,
            credential_is_ours: self.in_credential,
        }
    }
}

/// Says who presents this.
pub fn identify(
    presented: &Presented<'_>,
    keys: &KeyRing,
    local: &Local,
    keyless_allowed: bool,
) -> Result<Principal, Unidentified> {
    let shown = Shown::of(presented);
    let Some(secret) = shown.secret else {
        if !keyless_allowed {
            return Err(Unidentified::KeyNeeded);
        }
        if !is_local(presented) {
            return Err(Unidentified::Foreign);
        }
        return Ok(keyless(local, shown.own));
    };
    if secret.starts_with(ACCESS_PREFIX) {
        // A sign-in's, where such are known: see `identify_bearer`.
        return Err(Unidentified::SignedOut);
    }
    if secret.starts_with(LOCAL_PREFIX) {
        return Err(Unidentified::LocalToken);
    }
    let key = keys.find(secret).ok_or(Unidentified::UnknownKey)?;
    Ok(shown.stands_for(key))
}

/// Says who presents the access token of a sign-in.
pub fn identify_bearer(
    presented: &Presented<'_>,
    bearers: &dyn Bearers,
    keyless_allowed: bool,
    now: Timestamp,
) -> Result<Principal, Unidentified> {
    let shown = Shown::of(presented);
    // The table is asked by hash, as that of keys is.
    let bearer = shown.secret.map(keys::hash);
    let bearer = bearer.and_then(|it| bearers.bearer(&it, now));
    let bearer = bearer.ok_or(Unidentified::SignedOut)?;
    if bearer.here_only && !(keyless_allowed && is_local(presented)) {
        return Err(Unidentified::SignedOut);
    }
    Ok(shown.stands_for(&bearer.key))
}

fn keyless(local: &Local, own: Own) -> Principal {
    Principal {
        organisation: Arc::clone(&local.organisation),
        user: Arc::clone(&local.user),
        key: None,
        role: Role::Caller,
        caller: Caller::Keyless,
        default_priority: None,
        highest_priority: Priority::Critical,
        default_task_type: None,
        credential: own.kind,
        credential_mark: own.mark,
        credential_is_ours: false,
    }
}

#[cfg(test)]
mod tests;
