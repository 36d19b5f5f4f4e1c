//! Keys made and revoked while running, each change with its row in the audit.

use std::sync::Arc;

use tidegate_ledger::{
    StoreError,
    keys::{self, Key, SECRET_BYTES},
};
use tidegate_observe::{
    audit::{Action, Actor, AuditRow},
    event,
};
use tidegate_types::{KeyId, Priority, Role, Secret};

use crate::{Engine, identity::KeyRing};

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
        by: Actor,
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
        self.key_changed(by, key.id, Action::KeyAdded);
        Ok((key, secret))
    }

    /// Refuses a key from now on; false if there is none in force.
    pub fn revoke_key(&self, id: KeyId, by: Actor) -> Result<bool, StoreError> {
        let revoked = self.keys.revoke(id, self.clock.now())?;
        if revoked {
            self.reload_keys()?;
            self.key_changed(by, id, Action::KeyRevoked);
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

    fn key_changed(&self, by: Actor, key: KeyId, action: Action) {
        let word = action.word();
        self.report(&event::KeyChanged {
            by: by.clone(),
            key,
            action: word,
        });
        self.audit(by, action, key.to_string(), None);
    }

    /// Records a change; a change that can't be recorded is reported, and stands.
    pub fn audit(&self, by: Actor, action: Action, object: String, change: Option<(String, String)>) {
        let now = self.clock.now();
        let (before, after) = change.unzip();
        let row = AuditRow {
            at: now,
            actor: by,
            action,
            object,
            before,
            after,
        };
        if let Err(refused) = self.audit.append(&row) {
            let reason: Arc<str> = refused.to_string().into();
            self.report(&event::InternalError {
                place: "audit",
                reason,
            });
        }
    }
}
