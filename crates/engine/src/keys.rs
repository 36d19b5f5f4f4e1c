//! Keys made and revoked while running, each change with its row in the audit.

use std::sync::Arc;

use tidegate_ledger::{
    StoreError,
    keys::{self, Key, SECRET_BYTES},
};
use tidegate_observe::{
    RecordStoreError,
    audit::{Action, Actor, AuditRow},
    event,
};
use tidegate_types::{KeyId, Priority, Role, Secret};

use crate::{
    Engine,
    identity::{KeyRing, Principal},
};

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// As whom.
    pub user: String,
    /// Who pays.
    pub organisation: String,
    /// Of calls that say nothing.
    pub default_priority: Option<Priority>,
    /// The most that calls may claim.
    pub highest_priority: Priority,
    /// Of calls that say nothing.
    pub default_task_type: Option<String>,
}

impl Engine {
    /// Makes a key. The secret is in the result and nowhere else.
    pub fn add_key(
        &self,
        new: NewKey,
        by: &Principal,
        random: &[u8; SECRET_BYTES],
    ) -> Result<(Key, Secret<String>), StoreError> {
        let secret = keys::secret(random);
        let now = self.clock.now();
        let key = Key {
            id: self.ids.next(now),
            name: new.name,
            hash: keys::hash(secret.expose()),
            role: new.role,
            user: new.user,
            organisation: new.organisation,
            default_priority: new.default_priority,
            highest_priority: new.highest_priority,
            default_task_type: new.default_task_type,
            created_at: now,
            revoked_at: None,
        };
        self.keys.insert(&key)?;
        self.reload_keys()?;
        self.key_changed(Change::by(by, Action::KeyAdded, key.id.to_string()), key.id);
        Ok((key, secret))
    }

    /// Refuses a key from now on; false if there is none in force.
    pub fn revoke_key(&self, id: KeyId, by: &Principal) -> Result<bool, StoreError> {
        let revoked = self.keys.revoke(id, self.clock.now())?;
        if revoked {
            self.reload_keys()?;
            self.key_changed(Change::by(by, Action::KeyRevoked, id.to_string()), id);
        }
        Ok(revoked)
    }

    /// All keys, revoked ones too.
    pub fn list_keys(&self) -> Result<Vec<Key>, StoreError> {
        self.keys.list()
    }

    /// Whether any key is in force.
    pub fn has_keys(&self) -> bool {
        !self.ring.load().is_empty()
    }

    fn reload_keys(&self) -> Result<(), StoreError> {
        self.ring.store(Arc::new(KeyRing::new(self.keys.list()?)));
        Ok(())
    }

    /// An id that no key has, nor will have.
    pub fn next_key_id(&self) -> KeyId {
        self.ids.next(self.clock.now())
    }

    /// Reports and records a change of a key, or of a sign-in.
    pub fn key_changed(&self, change: Change, key: KeyId) {
        self.report(&event::KeyChanged {
            by: change.who.clone(),
            key,
            action: change.action.word(),
        });
        self.audit(change);
    }

    /// Records a change. One that can't be recorded is reported, and stands.
    pub fn audit(&self, change: Change) {
        let row = AuditRow {
            at: self.clock.now(),
            who: change.who,
            role: change.role,
            organisation: change.organisation,
            action: change.action,
            object: change.object,
            before: change.before,
            after: change.after,
        };
        if let Err(refused) = self.audit.append(&row) {
            let reason: Arc<str> = refused.to_string().into();
            self.report(&event::InternalError {
                place: "audit",
                reason,
            });
        }
    }

    /// The newest changes, newest first.
    pub fn changes(&self, limit: usize) -> Result<Vec<AuditRow>, RecordStoreError> {
        self.audit.list(limit)
    }
}

/// A change that somebody made, for its row in the audit.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who.
    pub who: Actor,
    /// With which right.
    pub role: Role,
    /// Whose books it touches.
    pub organisation: Option<Arc<str>>,
    /// What was done.
    pub action: Action,
    /// To what.
    pub object: String,
    /// How it was, as JSON without secrets.
    pub before: Option<String>,
    /// How it is, as JSON without secrets.
    pub after: Option<String>,
}

impl Change {
    /// A change that a principal made.
    pub fn by(principal: &Principal, action: Action, object: String) -> Self {
        Self {
            who: principal.key.map_or(Actor::Local, Actor::Key),
            role: principal.role,
            organisation: Some(Arc::clone(&principal.organisation)),
            action,
            object,
            before: None,
            after: None,
        }
    }

    /// With how it was and is.
    #[must_use]
    pub fn from_to(mut self, before: Option<String>, after: Option<String>) -> Self {
        (self.before, self.after) = (before, after);
        self
    }
}
