//! The ledger in SQLite: rows, and beside them what they lead to, changed in one transaction.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tidegate_ledger::{
    Balance, ChainHash, Entry, Fold, LedgerStore, LevelKey, Line, OpenReservation, Row, Seq,
    SettingStore, Snapshot, Standing, StoreError,
    leases::{self, Grant, Lease, LeaseAsk},
};
use tidegate_types::{ReservationId, Timestamp};

use super::{
    SqliteStore, Writer,
    columns::{self, BALANCE, ROW, unsigned},
};
use crate::{
    failure,
    staging::{self, Balances, Changes, Head, Map, NewRow, Stored},
};

/// Balances that the writer keeps in memory. Beyond this many they are read again; 16 Ki of them
/// are about 4 MiB.
const BALANCES_MAX: usize = 16_384;

/// Open reservations for which the writer keeps room when a burst is over.
const OPEN_KEPT: usize = 64;

const BALANCE_OF: &str =
    "SELECT kind, organisation, user, task, opens, spent, held, notional, would_refuse FROM balances
     WHERE kind = ?1 AND organisation = ?2 AND user = ?3 AND task = ?4 AND opens = ?5";

/// What the writer knows without asking. Forgotten whenever a transaction fails, since it is not
/// known then what of it was written.
#[derive(Debug, Default)]
pub(super) struct LedgerWriter(Option<Known>);

#[derive(Debug)]
struct Known {
    head: Head,
    open: Map<ReservationId, OpenReservation>,
    /// No reservation above this one is stored.
    newest: Option<ReservationId>,
    balances: Map<LevelKey, Balance>,
}

impl Known {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let newest = connection.query_row("SELECT max(reservation) FROM entries", [], |it| {
            it.get::<_, Option<i64>>(0)
        })?;
        let open = open_reservations(connection)?.into_iter();
        Ok(Self {
            head: read_head(connection)?,
            open: open.map(|it| (it.reservation, it)).collect(),
            newest: newest.map(|it| ReservationId::from_raw(it.cast_unsigned())),
            balances: Map::default(),
        })
    }

    fn update(&mut self, changes: Changes<'_>) {
        self.head = changes.head;
        for (reservation, standing) in changes.standings {
            self.newest = self.newest.max(Some(reservation));
            match standing {
                Standing::Open(open) => {
                    self.open.insert(reservation, open);
                }
                Standing::Ended(_) => {
                    self.open.remove(&reservation);
                }
            }
        }
        let open = self.open.len().max(OPEN_KEPT);
        if self.open.capacity() / 8 > open {
            self.open.shrink_to(2 * open);
        }
        if self.balances.len() > BALANCES_MAX {
            self.balances.clear();
        }
        for (key, balance) in changes.balances.iter() {
            match self.balances.get_mut(key) {
                Some(known) => *known = *balance,
                None => drop(self.balances.insert(key.clone(), *balance)),
            }
        }
    }
}

/// The stored ledger, as staging asks for it.
struct Reader<'a> {
    path: &'a Path,
    connection: &'a Connection,
    known: &'a Known,
}

impl Reader<'_> {
    fn read<T>(&self, found: rusqlite::Result<T>) -> Result<T, StoreError> {
        found.map_err(|it| failure::of_sqlite(self.path, it))
    }
}

impl Stored for Reader<'_> {
    fn may_have(&self, reservation: ReservationId, ordinal: u32) -> bool {
        match self.known.open.get(&reservation) {
            Some(open) => ordinal < open.next_ordinal,
            None => self.known.newest.is_some_and(|it| reservation <= it),
        }
    }

    fn standing(&mut self, reservation: ReservationId) -> Result<Option<Standing>, StoreError> {
        if let Some(open) = self.known.open.get(&reservation) {
            return Ok(Some(Standing::Open(open.clone())));
        }
        if self.known.newest.is_none_or(|it| it < reservation) {
            return Ok(None);
        }
        let rows = self.read(history(self.connection, reservation))?;
        let mut fold = Fold::default();
        for row in rows {
            let unreadable = |what: String| failure::damaged(self.path, what);
            let entry = row.entry().map_err(|it| unreadable(it.to_string()))?;
            // The limits of that time do not matter here, and none are known.
            let applied = fold.apply(&entry);
            applied.map_err(|it| unreadable(it.to_string()))?;
        }
        Ok(fold.standing(reservation))
    }

    fn balance(&mut self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        if let Some(known) = self.known.balances.get(level) {
            return Ok(Some(*known));
        }
        self.read(balance(self.connection, level))
    }

    fn payload(
        &mut self,
        reservation: ReservationId,
        ordinal: u32,
    ) -> Result<Option<String>, StoreError> {
        let mut query = self.read(self.connection.prepare_cached(
            "SELECT payload FROM entries WHERE reservation = ?1 AND ordinal = ?2",
        ))?;
        let name = params![reservation.raw().cast_signed(), ordinal];
        self.read(query.query_row(name, |it| it.get(0)).optional())
    }
}

impl LedgerStore for SqliteStore {
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        self.state.write(|path, writer| {
            let fail = |error| failure::of_sqlite(path, error);
            let Writer { connection, ledger } = writer;
            let mut known = match ledger.0.take() {
                Some(known) => known,
                None => Known::read(connection).map_err(fail)?,
            };
            let mut reader = Reader {
                path,
                connection,
                known: &known,
            };
            let staged = staging::stage(&mut reader, known.head.clone(), lines);
            let changes = match staged {
                Ok(changes) => changes,
                Err(refused) => {
                    ledger.0 = Some(known);
                    return Err(refused);
                }
            };
            if !changes.rows.is_empty() {
                write(connection, &known, &changes).map_err(fail)?;
                known.update(changes);
            }
            ledger.0 = Some(known);
            Ok(())
        })
    }

    fn rest(&self) {
        self.state.rest();
    }

    fn balance(&self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        self.state.look(|it| balance(it, level))
    }

    fn balances(&self, organisation: Option<&str>) -> Result<Vec<(LevelKey, Balance)>, StoreError> {
        self.state.look(|it| balances(it, organisation))
    }

    fn open_reservations(&self) -> Result<Vec<OpenReservation>, StoreError> {
        self.state.look(|it| open_reservations(it))
    }

    fn rows(&self, from: Seq, limit: usize) -> Result<Vec<Row>, StoreError> {
        let sql = format!("SELECT {ROW} FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        self.state.look(|it| {
            let mut query = it.prepare_cached(&sql)?;
            query.query_map([from, limit], columns::row)?.collect()
        })
    }

    fn snapshot(&self, each: &mut dyn FnMut(Row)) -> Result<Snapshot, StoreError> {
        let sql = format!("SELECT {ROW} FROM entries ORDER BY seq");
        self.state.look(|it| {
            let mut query = it.prepare(&sql)?;
            for row in query.query_map([], columns::row)? {
                each(row?);
            }
            let head = read_head(it)?;
            Ok(Snapshot {
                rows: head.rows,
                head: head.chain,
                balances: balances(it, None)?,
            })
        })
    }

    fn history(&self, reservation: ReservationId) -> Result<Vec<Row>, StoreError> {
        self.state.look(|it| history(it, reservation))
    }

    fn uncorrected(&self, limit: usize) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT {ROW} FROM entries AS ended WHERE kind = 'expire' AND NOT EXISTS (
                SELECT 1 FROM entries AS later WHERE later.reservation = ended.reservation
                    AND later.ordinal > ended.ordinal)
             ORDER BY seq DESC LIMIT ?1"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.state.look(|it| {
            let mut query = it.prepare_cached(&sql)?;
            query.query_map([limit], columns::row)?.collect()
        })
    }

    fn latest(&self) -> Result<Option<Timestamp>, StoreError> {
        let head = self.state.look(|it| read_head(it))?;
        Ok((head.rows > 0).then_some(head.latest))
    }

    fn grant_leases(&self, asks: Vec<LeaseAsk>, now: Timestamp) -> Result<Vec<Grant>, StoreError> {
        self.state.write(|path, writer| {
            let granted = grant_all(&mut writer.connection, asks, now);
            granted.map_err(|it| failure::of_sqlite(path, it))
        })
    }

    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let mut leases: Vec<Lease> = self.state.look(|it| {
            let mut query = it.prepare_cached("SELECT lease FROM leases")?;
            query.query_map([], |it| columns::json(it, 0))?.collect()
        })?;
        leases.sort_by(|a, b| (&a.level, &a.holder).cmp(&(&b.level, &b.holder)));
        Ok(leases)
    }

    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError> {
        if levels.is_empty() {
            return Ok(0);
        }
        self.state.write(|path, writer| {
            let returned = return_all(&mut writer.connection, holder, levels);
            returned.map_err(|it| failure::of_sqlite(path, it))
        })
    }
}

impl SettingStore for SqliteStore {
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.look(|it| {
            let mut query = it.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
            query.query_row([name], |it| it.get(0)).optional()
        })
    }

    fn settings_below(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.state.look(|it| {
            // No name goes on with the last character there is.
            let mut query = it.prepare_cached(
                "SELECT name, value FROM settings
                 WHERE name > ?1 AND name < ?1 || char(1114111)",
            )?;
            let rows = query.query_map([beginning], |it| Ok((it.get(0)?, it.get(1)?)))?;
            rows.collect()
        })
    }

    fn set(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError> {
        self.change_settings(|it| set_all(it, values))
    }

    fn unset(&self, names: &[&str]) -> Result<(), StoreError> {
        self.change_settings(|it| unset_all(it, names))
    }
}

impl SqliteStore {
    fn change_settings(
        &self,
        change: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.state.write(|path, writer| {
            let connection = &mut writer.connection;
            // Levels of buckets are written many times a minute: a sync each is not worth what a
            // power cut would take.
            let relaxed = connection.execute_batch("PRAGMA synchronous = NORMAL");
            let changed = relaxed.and_then(|()| change(connection));
            let strict = connection.execute_batch("PRAGMA synchronous = FULL");
            changed
                .and(strict)
                .map_err(|it| failure::of_sqlite(path, it))
        })
    }
}

fn unset_all(connection: &mut Connection, names: &[&str]) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for name in names {
        let mut unset = change.prepare_cached("DELETE FROM settings WHERE name = ?1")?;
        unset.execute([name])?;
    }
    change.commit()
}

fn set_all(connection: &mut Connection, values: &[(&str, &[u8])]) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (name, value) in values {
        let mut set = change.prepare_cached(
            "INSERT INTO settings (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?;
        set.execute(params![name, value])?;
    }
    change.commit()
}

fn write(
    connection: &mut Connection,
    known: &Known,
    changes: &Changes<'_>,
) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    insert_rows(&change, &changes.rows)?;
    put_balances(&change, &changes.balances)?;
    put_standings(&change, known, &changes.standings)?;
    put_head(&change, &changes.head)?;
    change.commit()
}

fn insert_rows(change: &Connection, rows: &[NewRow<'_>]) -> rusqlite::Result<()> {
    let mut insert = change.prepare_cached(
        "INSERT INTO entries (seq, reservation, ordinal, kind, at, chain, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for row in rows {
        insert.execute(params![
            row.seq.cast_signed(),
            row.entry
                .map(|(reservation, _)| reservation.raw().cast_signed()),
            row.entry.map(|(_, ordinal)| ordinal),
            row.kind,
            row.at.0.cast_signed(),
            row.chain.0,
            row.payload,
        ])?;
    }
    Ok(())
}

fn put_balances(change: &Connection, balances: &Balances) -> rusqlite::Result<()> {
    let mut put = change.prepare_cached(
        "INSERT OR REPLACE INTO balances (kind, organisation, user, task, opens, spent, held,
         notional, would_refuse) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for (key, balance) in balances.iter() {
        let [kind, organisation, user, task, opens] = columns::level(key);
        put.execute(params![
            kind,
            organisation,
            user,
            task,
            opens,
            balance.spent.0.cast_signed(),
            balance.held.0.cast_signed(),
            balance.notional.0.cast_signed(),
            balance.would_refuse.cast_signed(),
        ])?;
    }
    Ok(())
}

/// What began and ended in one batch is never written here.
fn put_standings(
    change: &Connection,
    known: &Known,
    standings: &Map<ReservationId, Standing>,
) -> rusqlite::Result<()> {
    let mut put = change.prepare_cached(
        "INSERT OR REPLACE INTO open_reservations (reservation, standing) VALUES (?1, ?2)",
    )?;
    let mut close =
        change.prepare_cached("DELETE FROM open_reservations WHERE reservation = ?1")?;
    for (reservation, standing) in standings {
        let name = reservation.raw().cast_signed();
        match standing {
            Standing::Open(open) => {
                put.execute(params![name, columns::to_json(open)?])?;
            }
            Standing::Ended(_) if known.open.contains_key(reservation) => {
                close.execute([name])?;
            }
            Standing::Ended(_) => {}
        }
    }
    Ok(())
}

fn put_head(change: &Connection, head: &Head) -> rusqlite::Result<()> {
    let mut note = change.prepare_cached(
        "INSERT OR REPLACE INTO head (id, rows, chain, latest) VALUES (1, ?1, ?2, ?3)",
    )?;
    note.execute(params![
        head.rows.cast_signed(),
        head.chain.0,
        head.latest.0.cast_signed()
    ])?;
    Ok(())
}

fn read_head(connection: &Connection) -> rusqlite::Result<Head> {
    let head = connection.query_row("SELECT rows, chain, latest FROM head", [], |it| {
        Ok(Head {
            rows: unsigned(it, 0)?,
            chain: ChainHash(it.get(1)?),
            latest: Timestamp(unsigned(it, 2)?),
            limits: None,
        })
    });
    let mut head = head.optional()?.unwrap_or_default();
    let policy: Option<Entry> = connection
        .query_row(
            "SELECT payload FROM entries WHERE kind = 'policy' ORDER BY seq DESC LIMIT 1",
            [],
            |it| columns::json(it, 0),
        )
        .optional()?;
    if let Some(Entry::Policy(policy)) = policy {
        head.limits = Some(policy.limits);
    }
    Ok(head)
}

fn balance(connection: &Connection, level: &LevelKey) -> rusqlite::Result<Option<Balance>> {
    let mut query = connection.prepare_cached(BALANCE_OF)?;
    let found = query.query_row(columns::level(level), columns::balance);
    Ok(found.optional()?.map(|(_, balance)| balance))
}

fn balances(
    connection: &Connection,
    organisation: Option<&str>,
) -> rusqlite::Result<Vec<(LevelKey, Balance)>> {
    let sql = format!("SELECT {BALANCE} FROM balances WHERE ?1 IS NULL OR organisation = ?1");
    let mut query = connection.prepare_cached(&sql)?;
    let found = query.query_map([organisation], columns::balance)?;
    let mut found: Vec<_> = found.collect::<Result<_, _>>()?;
    // The file's order is that of the words, and levels have another.
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn open_reservations(connection: &Connection) -> rusqlite::Result<Vec<OpenReservation>> {
    let mut query =
        connection.prepare_cached("SELECT standing FROM open_reservations ORDER BY reservation")?;
    query.query_map([], |it| columns::json(it, 0))?.collect()
}

fn history(connection: &Connection, reservation: ReservationId) -> rusqlite::Result<Vec<Row>> {
    let sql = format!("SELECT {ROW} FROM entries WHERE reservation = ?1 ORDER BY ordinal");
    let mut query = connection.prepare_cached(&sql)?;
    let name = reservation.raw().cast_signed();
    query.query_map([name], columns::row)?.collect()
}

fn grant_all(
    connection: &mut Connection,
    asks: Vec<LeaseAsk>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Grant>> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let granted: rusqlite::Result<_> = asks.into_iter().map(|it| grant(&change, it, now)).collect();
    let granted = granted?;
    change.commit()?;
    Ok(granted)
}

fn grant(change: &Connection, ask: LeaseAsk, now: Timestamp) -> rusqlite::Result<Grant> {
    let stands = balance(change, &ask.level)?.unwrap_or_default();
    let level = columns::to_json(&ask.level)?;
    let mut query = change.prepare_cached("SELECT lease FROM leases WHERE level = ?1")?;
    let of_level = query.query_map([&level], |it| columns::json(it, 0))?;
    let of_level: Vec<Lease> = of_level.collect::<Result<_, _>>()?;
    let grant = leases::grant(ask, stands, &of_level, now);
    if let Grant::Granted(lease) = &grant {
        let mut put = change.prepare_cached(
            "INSERT OR REPLACE INTO leases (level, holder, lease) VALUES (?1, ?2, ?3)",
        )?;
        put.execute(params![level, lease.holder, columns::to_json(lease)?])?;
    }
    Ok(grant)
}

fn return_all(
    connection: &mut Connection,
    holder: &str,
    levels: &[LevelKey],
) -> rusqlite::Result<usize> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut returned = 0;
    for level in levels {
        let mut query =
            change.prepare_cached("DELETE FROM leases WHERE level = ?1 AND holder = ?2")?;
        returned += query.execute(params![columns::to_json(level)?, holder])?;
    }
    change.commit()?;
    Ok(returned)
}
