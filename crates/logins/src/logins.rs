//! All sign-ins: asked for, confirmed, renewed, ended; kept through restarts.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use tidegate_ledger::{
    SettingStore, StoreError,
    keys::{self, Bearer, Bearers},
};
use tidegate_types::{Disposition, KeyId, Monotonic, Timestamp};

use crate::{
    Asked, Asking, Holder, Login, RANDOM_BYTES, Tokens, UserCode,
    asking::{Decision, Found, Table},
    guesses::Guesses,
    login::AGAIN,
};

/// What the names of kept sign-ins begin with; each goes on with its id.
const KEPT: &str = "login/";

/// Sign-ins of one user: more machines than anybody works at. Beyond, the one ends that was renewed
/// longest ago.
const PER_USER_MAX: usize = 32;

/// Sign-ins in all: a thousand users with ten machines each, in 10 MB.
const ALL_MAX: usize = 10_000;

/// Bytes of what a program calls itself that are kept.
const SURFACE_MAX: usize = 40;

/// A program can't be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many programs wait to be signed in: try again in a minute")]
pub struct AskError;

impl AskError {
    /// What the program should do.
    pub const fn disposition(self) -> Disposition {
        Disposition::RetryAfter(Duration::from_mins(1))
    }
}

/// A code can't be confirmed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// There is none, or no longer.
    #[error(
        "nobody waits with this code: codes are good for 10 minutes and once; start again with `/login`"
    )]
    UnknownCode,
    /// The same user has typed too many wrong ones.
    #[error("too many wrong codes: try again in {} s", wait.as_secs() + 1)]
    TooManyGuesses {
        /// How long to wait.
        wait: Duration,
    },
}

impl ConfirmError {
    /// What the person should do.
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::UnknownCode => Disposition::FixRequest,
            Self::TooManyGuesses { wait } => Disposition::RetryAfter(wait),
        }
    }
}

/// What a program is told that asks whether somebody has confirmed it.
#[derive(Debug)]
pub enum Poll {
    /// Not yet.
    Open,
    /// It asks too often: five seconds more between two times from here on.
    TooEarly,
    /// Nobody did in time.
    Expired,
    /// Somebody said no.
    Denied,
    /// There is no such code, or it was used.
    Unknown,
    /// There are as many sign-ins as there may be.
    Full,
    /// Somebody did. What had to end for it, if anything, is beside it.
    Confirmed(Box<Tokens>, Option<Box<Login>>),
}

/// A refresh token is refused.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// There is none, or its sign-in has ended.
    #[error("the sign-in is over or was revoked: sign in again with `/login`")]
    Unknown,
    /// It was used before: somebody else may have it. The whole sign-in has ended.
    #[error(
        "this refresh token was used before, so the sign-in was ended: sign in again with `/login`"
    )]
    UsedBefore(Box<Login>),
    /// It can't be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// What the program should do.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unknown | Self::UsedBefore(_) => Disposition::FixRequest,
            Self::Store(it) => it.disposition(),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    logins: HashMap<KeyId, Login, RandomState>,
    /// Sign-ins by the hashes of their refresh tokens.
    refresh: HashMap<[u8; 32], KeyId, RandomState>,
}

/// All sign-ins. Where nothing is said, a lock of its own is taken for a microsecond; what is written
/// down is written under one that calls don't take.
pub struct Logins {
    store: Arc<dyn SettingStore>,
    asking: Mutex<(Table, Guesses)>,
    kept: Mutex<Kept>,
    /// What access tokens stand for, and until when, by their hashes. Calls look here.
    bearers: RwLock<HashMap<[u8; 32], (Timestamp, Bearer), RandomState>>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}

impl Bearers for Logins {
    fn bearer(&self, hash: &[u8; 32], now: Timestamp) -> Option<Bearer> {
        let bearers = self.bearers.read();
        let (until, bearer) = bearers.get(hash)?;
        (*until > now).then(|| bearer.clone())
    }
}

impl Logins {
    /// Takes over what an earlier run has kept. Sign-ins that a key confirmed which is in force no
    /// more have ended, and are forgotten.
    pub fn kept(
        store: Arc<dyn SettingStore>,
        in_force: impl Fn(KeyId) -> bool,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let logins = Self {
            asking: Mutex::default(),
            kept: Mutex::default(),
            bearers: RwLock::default(),
            store,
        };
        let mut gone = Vec::new();
        for (name, written) in logins.store.settings_below(KEPT)? {
            // What can't be read was written by another version: it is signed in anew.
            match serde_json::from_slice::<Login>(&written) {
                Ok(it) if it.until() > now && it.holder.by.is_none_or(&in_force) => {
                    logins.publish(None, Some(&it));
                    logins.kept.lock().put(it);
                }
                _ => gone.push(name),
            }
        }
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        logins.store.unset(&gone)?;
        Ok(logins)
    }

    /// Takes in a program that wants to be signed in.
    pub fn ask(
        &self,
        from: IpAddr,
        surface: &str,
        random: &[u8; RANDOM_BYTES],
        now: Monotonic,
    ) -> Result<Asked, AskError> {
        let plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        let surface: String = surface.chars().filter(plain).take(SURFACE_MAX).collect();
        let asking = Asking {
            from,
            surface: surface.into(),
        };
        let asked = self.asking.lock().0.ask(asking, random, now);
        asked.ok_or(AskError)
    }

    /// Says yes to the program with this code, for `holder`; the sign-in will have this id. `typist`
    /// is whose wrong codes are counted.
    pub fn confirm(
        &self,
        typist: &str,
        code: &str,
        (id, holder): (KeyId, Holder),
        now: Monotonic,
    ) -> Result<Asking, ConfirmError> {
        self.decide(typist, code, Decision::Confirmed(id, holder), now)
    }

    /// Says no to the program with this code.
    pub fn deny(&self, typist: &str, code: &str, now: Monotonic) -> Result<Asking, ConfirmError> {
        self.decide(typist, code, Decision::Denied, now)
    }

    fn decide(
        &self,
        typist: &str,
        code: &str,
        decision: Decision,
        now: Monotonic,
    ) -> Result<Asking, ConfirmError> {
        let mut asking = self.asking.lock();
        let (table, guesses) = &mut *asking;
        let allowed = guesses.allow(typist, now);
        allowed.map_err(|wait| ConfirmError::TooManyGuesses { wait })?;
        let found = UserCode::read(code).and_then(|it| table.decide(it, decision, now));
        found.ok_or_else(|| {
            guesses.wrong(typist, now);
            ConfirmError::UnknownCode
        })
    }

    /// What became of the program with this device code; its tokens, once. `here` is whether the
    /// program is on this machine.
    pub fn poll(
        &self,
        device_code: &str,
        here: bool,
        random: &[u8; RANDOM_BYTES],
        (now, wall): (Monotonic, Timestamp),
    ) -> Result<Poll, StoreError> {
        let found = self.asking.lock().0.poll(device_code, now);
        let (id, holder, asking) = match found {
            Found::Open => return Ok(Poll::Open),
            Found::TooEarly => return Ok(Poll::TooEarly),
            Found::Expired => return Ok(Poll::Expired),
            Found::Denied => return Ok(Poll::Denied),
            Found::Nothing => return Ok(Poll::Unknown),
            Found::Confirmed(_, holder, _) if holder.here_only && !here => {
                return Ok(Poll::Denied);
            }
            Found::Confirmed(id, holder, asking) => (id, holder, asking),
        };
        let mut kept = self.kept.lock();
        for old in kept.over(wall) {
            self.end(&mut kept, old)?;
        }
        let displaced = kept.displaced_by(&holder);
        if displaced.is_none() && kept.logins.len() >= ALL_MAX {
            return Ok(Poll::Full);
        }
        let ended = match displaced {
            Some(id) => self.end(&mut kept, id)?.map(Box::new),
            None => None,
        };
        let mut login = Login::new(id, holder, asking.surface, wall);
        let tokens = login.renew(random, wall);
        self.keep(&mut kept, login)?;
        Ok(Poll::Confirmed(Box::new(tokens), ended))
    }

    /// The next tokens for a refresh token, which is used up by it. `here` is whether it comes from
    /// this machine.
    pub fn refresh(
        &self,
        token: &str,
        here: bool,
        random: &[u8; RANDOM_BYTES],
        now: Timestamp,
    ) -> Result<Tokens, RefreshError> {
        let hash = keys::hash(token);
        let mut kept = self.kept.lock();
        let login = kept.refresh.get(&hash).and_then(|it| kept.logins.get(it));
        let mut login = login.cloned().ok_or(RefreshError::Unknown)?;
        if login.holder.here_only && !here {
            return Err(RefreshError::Unknown);
        }
        let presented = login.refresh.iter_mut().find(|it| it.hash == hash);
        let presented = presented.ok_or(RefreshError::Unknown)?;
        if presented.until <= now {
            return Err(RefreshError::Unknown);
        }
        if presented.used.is_some_and(|it| now.since(it) > AGAIN) {
            self.end(&mut kept, login.id)?;
            return Err(RefreshError::UsedBefore(Box::new(login)));
        }
        presented.used.get_or_insert(now);
        let tokens = login.renew(random, now);
        self.keep(&mut kept, login)?;
        Ok(tokens)
    }

    /// Ends the sign-in that a token of either kind belongs to (RFC 7009); `None` where there is none.
    pub fn sign_out(&self, token: &str) -> Result<Option<Login>, StoreError> {
        let hash = keys::hash(token);
        let by_access = self.bearers.read().get(&hash).map(|(_, it)| it.key.id);
        let mut kept = self.kept.lock();
        let id = by_access.or_else(|| kept.refresh.get(&hash).copied());
        let Some(id) = id else { return Ok(None) };
        self.end(&mut kept, id)
    }

    /// Ends a sign-in; `None` where there is none.
    pub fn revoke(&self, id: KeyId) -> Result<Option<Login>, StoreError> {
        let mut kept = self.kept.lock();
        self.end(&mut kept, id)
    }

    /// Ends all that a key has confirmed, since that is in force no more.
    pub fn revoke_confirmed_by(&self, key: KeyId) -> Result<Vec<Login>, StoreError> {
        self.asking.lock().0.forget_word_of(key);
        let mut kept = self.kept.lock();
        let by = |it: &&Login| it.holder.by == Some(key);
        let ids: Vec<KeyId> = kept.logins.values().filter(by).map(|it| it.id).collect();
        let mut ended = Vec::new();
        for id in ids {
            ended.extend(self.end(&mut kept, id)?);
        }
        Ok(ended)
    }

    /// A sign-in that has not ended.
    pub fn get(&self, id: KeyId) -> Option<Login> {
        self.kept.lock().logins.get(&id).cloned()
    }

    /// All that have not ended, in the order of their ids.
    pub fn list(&self, now: Timestamp) -> Vec<Login> {
        let kept = self.kept.lock();
        let live = kept.logins.values().filter(|it| it.until() > now);
        let mut live: Vec<Login> = live.cloned().collect();
        live.sort_by_key(|it| it.id);
        live
    }

    /// Writes a sign-in down, then lets its tokens be used.
    fn keep(&self, kept: &mut Kept, login: Login) -> Result<(), StoreError> {
        let written = serde_json::to_vec(&login).unwrap_or_default();
        self.store.set(&[(&name(login.id), &written)])?;
        let before = kept.remove(login.id);
        self.publish(before.as_ref(), Some(&login));
        kept.put(login);
        Ok(())
    }

    /// Refuses its tokens from here on, then forgets it.
    fn end(&self, kept: &mut Kept, id: KeyId) -> Result<Option<Login>, StoreError> {
        if !kept.logins.contains_key(&id) {
            return Ok(None);
        }
        self.store.unset(&[&name(id)])?;
        let ended = kept.remove(id);
        self.publish(ended.as_ref(), None);
        Ok(ended)
    }

    /// Puts the access tokens of a sign-in in the place of those it had, at once.
    fn publish(&self, before: Option<&Login>, login: Option<&Login>) {
        let mut bearers = self.bearers.write();
        for token in before.into_iter().flat_map(|it| &it.access) {
            bearers.remove(&token.hash);
        }
        for (login, token) in login
            .into_iter()
            .flat_map(|it| it.access.iter().map(move |token| (it, token)))
        {
            let bearer = Bearer {
                key: Arc::new(login.key(token.hash)),
                here_only: login.holder.here_only,
            };
            bearers.insert(token.hash, (token.until, bearer));
        }
    }
}

impl Kept {
    fn remove(&mut self, id: KeyId) -> Option<Login> {
        let gone = self.logins.remove(&id)?;
        for token in &gone.refresh {
            self.refresh.remove(&token.hash);
        }
        Some(gone)
    }

    fn put(&mut self, login: Login) {
        let tokens = login.refresh.iter().map(|it| (it.hash, login.id));
        self.refresh.extend(tokens);
        self.logins.insert(login.id, login);
    }

    /// Those whose last token is over.
    fn over(&self, now: Timestamp) -> Vec<KeyId> {
        let over = self.logins.values().filter(|it| it.until() <= now);
        over.map(|it| it.id).collect()
    }

    /// What ends where a user has as many as one may have, and signs in once more.
    fn displaced_by(&self, holder: &Holder) -> Option<KeyId> {
        let same = |it: &&Login| {
            it.holder.user == holder.user && it.holder.organisation == holder.organisation
        };
        let own = || self.logins.values().filter(same);
        if own().count() < PER_USER_MAX {
            return None;
        }
        own()
            .min_by_key(|it| (it.renewed_at, it.id))
            .map(|it| it.id)
    }
}

fn name(id: KeyId) -> String {
    format!("{KEPT}{id}")
}

#[cfg(test)]
mod tests;
