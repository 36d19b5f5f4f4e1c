//! Everything in memory: the reference that the other backends are compared with.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use parking_lot::Mutex;
use tidegate_ledger::{
    Balance, Entry, LedgerStore, LevelKey, Line, OpenReservation, Row, Seq, SettingStore, Snapshot,
    Standing, StoreError,
    journal::{Journal, Position, ReadBack},
    keys::{Key, KeyStore},
    leases::{self, Grant, Lease, LeaseAsk},
};
use tidegate_observe::{
    RecordStoreError,
    audit::{AuditRow, AuditStore},
    calls::{CallFilter, CallRecord, CallStore},
};
use tidegate_types::{CallId, KeyId, ReservationId, Timestamp};

use crate::staging::{self, Changes, Head, Stored};

/// Forgets everything when dropped, and never fails but for what its caller does wrong.
#[derive(Debug, Default)]
pub struct MemoryStore {
    ledger: Mutex<Ledger>,
    leases: Mutex<BTreeMap<LevelKey, Vec<Lease>>>,
    settings: Mutex<BTreeMap<String, Vec<u8>>>,
    keys: Mutex<BTreeMap<KeyId, Key>>,
    calls: Mutex<BTreeMap<CallId, CallRecord>>,
    audit: Mutex<Vec<AuditRow>>,
}

#[derive(Debug, Default)]
struct Ledger {
    head: Head,
    rows: Vec<Row>,
    places: HashMap<(ReservationId, u32), usize>,
    standings: BTreeMap<ReservationId, Standing>,
    balances: BTreeMap<LevelKey, Balance>,
}

impl Stored for Ledger {
    fn may_have(&self, reservation: ReservationId, ordinal: u32) -> bool {
        self.places.contains_key(&(reservation, ordinal))
    }

    fn standing(&mut self, reservation: ReservationId) -> Result<Option<Standing>, StoreError> {
        Ok(self.standings.get(&reservation).cloned())
    }

    fn balance(&mut self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        Ok(self.balances.get(level).copied())
    }

    fn payload(
        &mut self,
        reservation: ReservationId,
        ordinal: u32,
    ) -> Result<Option<String>, StoreError> {
        let at = self.places.get(&(reservation, ordinal));
        Ok(at.map(|it| self.rows[*it].payload.clone()))
    }
}

impl Ledger {
    fn apply(&mut self, changes: Changes<'_>) {
        for row in changes.rows {
            if let Some(name) = row.entry {
                self.places.insert(name, self.rows.len());
            }
            self.rows.push(Row {
                seq: row.seq,
                chain: row.chain,
                payload: row.payload.to_owned(),
            });
        }
        self.standings.extend(changes.standings);
        self.balances.extend(changes.balances.iter().cloned());
        self.head = changes.head;
    }

    fn open(&self) -> impl Iterator<Item = &OpenReservation> {
        self.standings.values().filter_map(|it| match it {
            Standing::Open(open) => Some(open),
            Standing::Ended(_) => None,
        })
    }

    fn history(&self, reservation: ReservationId) -> impl Iterator<Item = &Row> {
        let places = (0..).map_while(move |it| self.places.get(&(reservation, it)));
        places.map(|it| &self.rows[*it])
    }
}

impl LedgerStore for MemoryStore {
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        let mut ledger = self.ledger.lock();
        let head = ledger.head.clone();
        let changes = staging::stage(&mut *ledger, head, lines)?;
        ledger.apply(changes);
        Ok(())
    }

    fn balance(&self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        self.ledger.lock().balance(level)
    }

    fn balances(&self, organisation: Option<&str>) -> Result<Vec<(LevelKey, Balance)>, StoreError> {
        let ledger = self.ledger.lock();
        let wanted = ledger
            .balances
            .iter()
            .filter(|(key, _)| organisation.is_none_or(|it| it == &*key.organisation));
        Ok(wanted.map(|(key, it)| (key.clone(), *it)).collect())
    }

    fn open_reservations(&self) -> Result<Vec<OpenReservation>, StoreError> {
        Ok(self.ledger.lock().open().cloned().collect())
    }

    fn rows(&self, from: Seq, limit: usize) -> Result<Vec<Row>, StoreError> {
        let ledger = self.ledger.lock();
        let wanted = ledger.rows.iter().filter(|it| it.seq >= from);
        Ok(wanted.take(limit).cloned().collect())
    }

    fn snapshot(&self, each: &mut dyn FnMut(Row)) -> Result<Snapshot, StoreError> {
        let ledger = self.ledger.lock();
        for row in &ledger.rows {
            each(row.clone());
        }
        let balances = ledger.balances.iter();
        Ok(Snapshot {
            rows: ledger.head.rows,
            head: ledger.head.chain,
            balances: balances.map(|(key, it)| (key.clone(), *it)).collect(),
        })
    }

    fn history(&self, reservation: ReservationId) -> Result<Vec<Row>, StoreError> {
        Ok(self.ledger.lock().history(reservation).cloned().collect())
    }

    fn uncorrected(&self, limit: usize) -> Result<Vec<Row>, StoreError> {
        let ledger = self.ledger.lock();
        let mut found = Vec::new();
        for reservation in ledger.standings.keys() {
            // Nothing follows an expiry but corrections.
            let last = ledger.history(*reservation).last();
            let expired = |row: &Row| match row.entry() {
                Ok(Entry::Call(call)) => call.event.word() == "expire",
                Ok(Entry::Policy(_)) | Err(_) => false,
            };
            found.extend(last.filter(|it| expired(it)).cloned());
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.seq));
        found.truncate(limit);
        Ok(found)
    }

    fn latest(&self) -> Result<Option<Timestamp>, StoreError> {
        let ledger = self.ledger.lock();
        Ok((ledger.head.rows > 0).then_some(ledger.head.latest))
    }

    fn grant_leases(&self, asks: Vec<LeaseAsk>, now: Timestamp) -> Result<Vec<Grant>, StoreError> {
        let mut leases = self.leases.lock();
        let granted = asks.into_iter().map(|ask| {
            let balance = self.balance(&ask.level)?.unwrap_or_default();
            let of_level = leases.entry(ask.level.clone()).or_default();
            let grant = leases::grant(ask, balance, of_level, now);
            if let Grant::Granted(lease) = &grant {
                of_level.retain(|it| it.holder != lease.holder);
                of_level.push(lease.clone());
            }
            Ok(grant)
        });
        granted.collect()
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let leases = self.leases.lock();
        let mut leases: Vec<Lease> = leases.values().flatten().cloned().collect();
        leases.sort_by(|a, b| (&a.level, &a.holder).cmp(&(&b.level, &b.holder)));
        Ok(leases)
    }

    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError> {
        let mut leases = self.leases.lock();
        let mut returned = 0;
        for level in levels {
            if let Some(of_level) = leases.get_mut(level) {
                let before = of_level.len();
                of_level.retain(|it| it.holder != holder);
                returned += before - of_level.len();
                if of_level.is_empty() {
                    leases.remove(level);
                }
            }
        }
        Ok(returned)
    }
}

impl SettingStore for MemoryStore {
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.settings.lock().get(name).cloned())
    }

    fn settings_below(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let all = self.settings.lock();
        let below = all
            .iter()
            .filter(|(name, _)| name.starts_with(beginning) && name.len() > beginning.len());
        Ok(below.map(|(name, it)| (name.clone(), it.clone())).collect())
    }

    fn set(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        self.settings.lock().extend(values);
        Ok(())
    }

    fn unset(&self, names: &[&str]) -> Result<(), StoreError> {
        let mut settings = self.settings.lock();
        for name in names {
            settings.remove(*name);
        }
        Ok(())
    }
}

impl KeyStore for MemoryStore {
    fn insert(&self, key: &Key) -> Result<(), StoreError> {
        let mut keys = self.keys.lock();
        let taken = keys
            .values()
            .any(|it| it.id == key.id || it.hash == key.hash);
        if taken {
            return Err(StoreError::Failed {
                path: "memory".into(),
                source: format!("{} or its secret is there already", key.id).into(),
            });
        }
        keys.insert(key.id, key.clone());
        Ok(())
    }

    fn revoke(&self, id: KeyId, at: Timestamp) -> Result<bool, StoreError> {
        let mut keys = self.keys.lock();
        let valid = keys.get_mut(&id).filter(|it| it.revoked_at.is_none());
        let found = valid.is_some();
        if let Some(key) = valid {
            key.revoked_at = Some(at);
        }
        Ok(found)
    }

    fn list(&self) -> Result<Vec<Key>, StoreError> {
        Ok(self.keys.lock().values().cloned().collect())
    }
}

impl CallStore for MemoryStore {
    fn append(&self, records: &[Arc<CallRecord>]) -> Result<(), RecordStoreError> {
        let records = records.iter().map(|it| (it.id, CallRecord::clone(it)));
        self.calls.lock().extend(records);
        Ok(())
    }

    fn get(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError> {
        Ok(self.calls.lock().get(&id).cloned())
    }

    fn list(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError> {
        let calls = self.calls.lock();
        let wanted = calls.values().rev().filter(|it| filter.matches(it));
        Ok(wanted.take(filter.page()).cloned().collect())
    }
}

impl AuditStore for MemoryStore {
    fn append(&self, row: &AuditRow) -> Result<(), RecordStoreError> {
        self.audit.lock().push(row.clone());
        Ok(())
    }

    fn list(&self, limit: usize) -> Result<Vec<AuditRow>, RecordStoreError> {
        let rows = self.audit.lock();
        Ok(rows.iter().rev().take(limit).cloned().collect())
    }
}

/// A journal that a killed process takes with it.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    /// What is kept, and how many bytes before it were forgotten.
    kept: Mutex<(Vec<u8>, u64)>,
    /// What is said instead of taking anything.
    refusing: Mutex<Option<&'static str>>,
}

impl MemoryJournal {
    /// Appends nothing from now on, as a disk that is full, and says so in these words; none: it appends
    /// again.
    pub fn refuse(&self, words: Option<&'static str>) {
        *self.refusing.lock() = words;
    }
}

impl Journal for MemoryJournal {
    fn append(&self, frames: &[u8]) -> io::Result<Position> {
        if let Some(words) = *self.refusing.lock() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, words));
        }
        let mut kept = self.kept.lock();
        kept.0.extend_from_slice(frames);
        Ok(Position {
            segment: 0,
            offset: kept.1 + kept.0.len() as u64,
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint(&self, up_to: Position) -> io::Result<()> {
        let mut kept = self.kept.lock();
        let gone = usize::try_from(up_to.offset.saturating_sub(kept.1)).unwrap_or(usize::MAX);
        let gone = gone.min(kept.0.len());
        kept.0.drain(..gone);
        kept.1 += gone as u64;
        Ok(())
    }

    fn read_back(&self) -> io::Result<ReadBack> {
        let bytes = self.kept.lock().0.clone();
        let segments = if bytes.is_empty() {
            Vec::new()
        } else {
            vec![bytes]
        };
        Ok(ReadBack {
            segments,
            complete: true,
        })
    }
}

#[cfg(test)]
mod tests;
