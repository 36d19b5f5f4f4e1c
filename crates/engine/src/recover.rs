//! Start-up: from what the store and the journal have to a running engine.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_admission::{Factor, Need, Pool, SavedLevel, SavedMirror, SavedPenalty};
use tidegate_ledger::{
    CallEntry, Entry, Event, Line, StoreError,
    journal::{Found, Record, Taking, decode},
};
use tidegate_observe::{event, metrics::Registry};
use tidegate_types::{Clock, Disposition, IdSource, Timestamp};

use crate::{
    Engine, Map, Parts,
    account::{self, Account, Counted},
    admissions::{Open, OpenReservation},
    alarms::Alarms,
    call::Moment,
    durable::Durable,
    estimate,
    gate::{Gate, SharedGate},
    heard::{SavedStanding, Standing},
    identity::KeyRing,
    journaling::Journaling,
    leases::Leases,
    places::Places,
    reserve::Holding,
    sessions::Sessions,
    settings::Settings,
    tasks::{self, Tasks},
    writer::{Making, Stores, Writer},
};

/// How long a reservation whose fate a crash left unknown stays at its bound for somebody to say
/// what it was.
pub(crate) const UNKNOWN_MAX: Duration = Duration::from_mins(15);

/// Entries of the journal appended to the store at once.
const REPLAY_BATCH: usize = 1_000;

/// The setting under which levels of buckets are saved.
const LEVELS: &str = "bucket_levels";

/// Why the engine can't start. The state is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't be read or written.
    #[error("the state can't be used")]
    Store(#[from] StoreError),
    /// The journal can't be read.
    #[error("the journal can't be read")]
    Journal(#[source] std::io::Error),
    /// The system gives no thread.
    #[error("a thread of the engine can't be started")]
    Thread(#[source] std::io::Error),
}

/// Levels and penalties of all platforms at one moment.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    at: Timestamp,
    /// The last id that was given before the first level was read. What was taken after that has
    /// a later one, since a reservation gets its id when it has taken what it needs.
    #[serde(default)]
    before: u64,
    platforms: Vec<(String, Vec<SavedLevel>)>,
    #[serde(default)]
    penalties: Vec<(String, Vec<SavedPenalty>)>,
    /// What providers said of their buckets.
    #[serde(default)]
    mirrors: Vec<(String, Vec<SavedMirror>)>,
    /// What was learned of waits.
    #[serde(default)]
    foretelling: Vec<(String, Vec<Factor>)>,
    /// What they said of accounts.
    #[serde(default)]
    standing: SavedStanding,
}

type Gates = Map<SharedGate>;

impl Engine {
    /// Reads back what an earlier run left, and starts the writer and what looks after the queues.
    ///
    /// Reservations that were sent and of which no end is known are held at their bound as
    /// unknown for `UNKNOWN_MAX`.
    pub fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let engine = Self::started(parts, false)?;
        engine.watch_queues()?;
        engine.watch_waits()?;
        Ok(engine)
    }

    /// The same without a thread, for a caller whose clock is not the machine's: it looks at the queues when time
    /// has passed, by [`Engine::look_if_due`], and has everything written, by [`Engine::flush`], before tens
    /// of thousands of facts wait.
    pub fn start_driven(parts: Parts) -> Result<Arc<Self>, StartError> {
        Self::started(parts, true)
    }

    fn started(parts: Parts, driven: bool) -> Result<Arc<Self>, StartError> {
        let at = moment(parts.clock.as_ref());
        let read = replay(&parts.stores)?;
        let saved = saved(&parts.stores)?;
        let tasks = tasks::recalled(&parts.stores)?;
        let ids = Arc::new(IdSource::after(saved.before.max(tasks.last_id())));
        let gates = restored(&parts.settings, &saved, &read.takings, at);
        let standing = standing(&saved, at);
        let journaling = Arc::new(Journaling::new(Arc::clone(&parts.stores.journal)));
        let (leases, durable) = (Arc::new(Leases::new(parts.seed)), Arc::<Durable>::default());
        let accounts = account::Accounts::default();
        if read.complete {
            Leases::take_over(parts.stores.ledger.as_ref())?;
        }
        let making = Making {
            stores: parts.stores.clone(),
            notices: Arc::clone(&parts.notices),
            snapshot: Box::new(snapshot(&gates, (&accounts, &standing), &parts.clock, &ids)),
            written: Box::new(written(&leases, &durable, &parts.registry)),
            journaling: Arc::clone(&journaling),
            clock: Arc::clone(&parts.clock),
        };
        let writer = Writer::start(making, driven).map_err(StartError::Thread)?;
        let engine = Arc::new(Self {
            latest: parts.stores.ledger.latest()?.unwrap_or_default(),
            bearers: std::sync::OnceLock::new(),
            ring: ArcSwap::from_pointee(KeyRing::new(parts.keys.list()?)),
            clock: parts.clock,
            settings: ArcSwap::from_pointee(parts.settings),
            prices: ArcSwap::from_pointee(parts.prices),
            gates,
            places: Places::default(),
            wakeups: Arc::default(),
            books: accounts,
            counted: read.counted,
            sessions: Sessions::default(),
            tasks: Arc::new(Tasks::new(Arc::clone(&ids), tasks.last_task())),
            calling_off: tokio::sync::watch::Sender::new(0),
            outputs: estimate::Outputs::default(),
            holds: crate::holding::Holds::default(),
            standing,
            open: Open::default(),
            correcting: Mutex::default(),
            waits: crate::admissions::Waits::default(),
            alarms: Alarms::new(crate::DROPPED.load(Ordering::Relaxed)),
            following: crate::Following::default(),
            approvals: crate::approvals::Approvals::default(),
            ids,
            writer,
            journaling,
            leases,
            durable,
            stores: parts.stores,
            keys: parts.keys,
            audit: parts.audit,
            registry: parts.registry,
            records: parts.records,
            notices: parts.notices,
            links: parts.links,
            seed: parts.seed,
        });
        engine.tell_of_damage(read.damage);
        engine.adopt_open(at.wall)?;
        // Journals what was taken over, too.
        engine.put_budgets(&Arc::clone(&engine.settings.load().budgets));
        engine.take_over(tasks)?;
        Ok(engine)
    }

    /// Takes over what an earlier run kept beside its books.
    fn take_over(self: &Arc<Self>, tasks: tasks::Recalled) -> Result<(), StartError> {
        self.recall_approvals()?;
        self.recall_places()?;
        self.recall_tasks(tasks);
        self.recall_waits()?;
        Ok(())
    }

    fn tell_of_damage(&self, damage: Vec<String>) {
        for reason in damage {
            self.report(&event::InternalError {
                place: "journal",
                reason: reason.into(),
            });
        }
    }

    /// Takes over the reservations that have no end. Their holds bind at once.
    fn adopt_open(&self, now: Timestamp) -> Result<(), StartError> {
        for mut open in self.stores.ledger.open_reservations()? {
            // What is promised still is its holder's to settle, as if nothing had been.
            let promised = open.asked.as_ref().map(|it| it.until);
            let promised = promised.filter(|it| *it > now && open.unknown_until.is_none());
            let until = promised
                .or(open.unknown_until)
                .unwrap_or(now.after(UNKNOWN_MAX));
            let books = self.books(&open.path.organisation);
            let hold = loop {
                let adopted = books.lock().adopt(&open.path, open.held, open.enforced);
                match adopted {
                    Ok(hold) => break hold,
                    Err(missing) => self.load_or_fail(&books, &missing)?,
                }
            };
            if promised.is_none() && open.unknown_until.is_none() {
                self.book(Line::new(Entry::Call(CallEntry {
                    reservation: open.reservation,
                    ordinal: open.next_ordinal,
                    at: now,
                    path: Arc::clone(&open.path),
                    enforced: open.enforced,
                    event: Event::Unknown { until },
                })));
                open.next_ordinal += 1;
            }
            let holding = Holding::adopted(books, hold);
            self.open.put(
                open.reservation,
                OpenReservation::adopted(holding, open, (until, promised.is_none())),
            );
        }
        Ok(())
    }

    fn load_or_fail(
        &self,
        books: &Mutex<Account>,
        missing: &[tidegate_ledger::LevelKey],
    ) -> Result<(), StartError> {
        for key in missing {
            let balance = self.stores.ledger.balance(key)?;
            let told = self.told(key);
            books.lock().recall(key, told);
            let _known_already = books.lock().load(key, balance.unwrap_or_default());
        }
        Ok(())
    }

    /// Puts other platforms' buckets in force; levels of those that stay are kept.
    pub(crate) fn put_pools(&self, settings: &Settings) {
        let now = self.clock.monotonic();
        let before = self.gates.load();
        let gates = settings.platforms.iter().map(|platform| {
            let gate = match before.get(&platform.name) {
                Some(gate) => {
                    gate.lock().pool.reconfigure(platform.pool.clone(), now);
                    Arc::clone(gate)
                }
                None => Gate::shared(platform.pool.clone(), now),
            };
            (Arc::clone(&platform.name), gate)
        });
        self.gates.store(Arc::new(gates.collect()));
        self.look_at_all();
    }
}

/// What the journal had that matters beyond the entries it gave to the store.
#[derive(Default)]
struct Read {
    /// The journal has all that earlier runs did: no power was cut.
    complete: bool,
    takings: Vec<Taking>,
    counted: Vec<Counted>,
    damage: Vec<String>,
}

/// Gives the store every entry of the journal that it has not.
fn replay(stores: &Stores) -> Result<Read, StartError> {
    let mut read = Read::default();
    let mut lines = Vec::new();
    let kept = stores.journal.read_back().map_err(StartError::Journal)?;
    read.complete = kept.complete;
    for segment in kept.segments {
        for found in decode(&segment) {
            match found {
                Found::Record(Record::Entry(line)) => {
                    read.counted.extend(account::counted(&line));
                    lines.push(line);
                }
                Found::Record(Record::Taking(taking)) => read.takings.push(taking),
                Found::Record(Record::Tried) | Found::TornTail { .. } => {}
                Found::Damage { from, to } => read.damage.push(format!(
                    "bytes {from} to {to} of a segment are damaged and were passed over"
                )),
            }
            if lines.len() >= REPLAY_BATCH {
                append_all(stores, &lines, &mut read.damage)?;
                lines.clear();
            }
        }
    }
    append_all(stores, &lines, &mut read.damage)?;
    Ok(read)
}

/// Appends what fits; an entry that contradicts the store is passed over and said.
fn append_all(stores: &Stores, lines: &[Line], damage: &mut Vec<String>) -> Result<(), StartError> {
    match stores.ledger.append_lines(lines) {
        Err(conflict) if conflict.disposition() == Disposition::FixRequest => {}
        other => return Ok(other?),
    }
    for line in lines {
        match stores.ledger.append_lines(std::slice::from_ref(line)) {
            Err(conflict) if conflict.disposition() == Disposition::FixRequest => {
                damage.push(conflict.to_string());
            }
            other => other?,
        }
    }
    Ok(())
}

fn saved(stores: &Stores) -> Result<Saved, StartError> {
    let bytes = stores.settings.setting(LEVELS)?;
    // What can't be read was written by another version: buckets then start full, as new ones do.
    let saved = bytes.and_then(|it| serde_json::from_slice(&it).ok());
    Ok(saved.unwrap_or_default())
}

/// What the writer saves beside entries, read anew each time.
fn snapshot(
    gates: &Arc<ArcSwap<Gates>>,
    (accounts, standing): (&account::Accounts, &Arc<Standing>),
    clock: &Arc<dyn Clock>,
    ids: &Arc<IdSource>,
) -> impl Fn() -> Vec<(String, Vec<u8>)> + Send + 'static + use<> {
    let (gates, clock, ids) = (Arc::clone(gates), Arc::clone(clock), Arc::clone(ids));
    let (accounts, standing) = (Arc::clone(accounts), Arc::clone(standing));
    move || save(&gates.load(), (&accounts, &standing), clock.as_ref(), &ids)
}

fn save(
    gates: &Gates,
    (accounts, standing): (&account::Accounts, &Standing),
    clock: &dyn Clock,
    ids: &IdSource,
) -> Vec<(String, Vec<u8>)> {
    // The id first: what is taken meanwhile may then be taken twice after a crash, never not at all.
    let before = ids.last();
    let at = clock.now();
    let now = clock.monotonic();
    let mut saved = Saved {
        at,
        before,
        standing: standing.export(now),
        ..Saved::default()
    };
    for (name, gate) in gates {
        let gate = gate.lock();
        let pool = &gate.pool;
        saved.platforms.push((name.to_string(), pool.export(now)));
        let mirrors = pool.export_mirrors();
        if !mirrors.is_empty() {
            saved.mirrors.push((name.to_string(), mirrors));
        }
        let learned = gate.queue.learned();
        saved
            .foretelling
            .extend(learned.map(|it| (name.to_string(), it)));
        let penalties = pool.export_penalties(now);
        if !penalties.is_empty() {
            saved.penalties.push((name.to_string(), penalties));
        }
    }
    let bytes = serde_json::to_vec(&saved).unwrap_or_default();
    let moment = Moment {
        wall: at,
        mono: now,
    };
    let mut kept = account::changed(accounts, moment, before);
    kept.extend(crate::alerts::changed(accounts));
    kept.push((LEVELS.to_owned(), bytes));
    kept
}

/// What follows when lines are in the store.
fn written(
    leases: &Arc<Leases>,
    durable: &Arc<Durable>,
    registry: &Arc<Registry>,
) -> impl Fn(&[Line], Duration) + Send + 'static + use<> {
    let (leases, durable) = (Arc::clone(leases), Arc::clone(durable));
    let registry = Arc::clone(registry);
    move |lines, took| {
        leases.written(lines);
        durable.stored(lines.len());
        registry.committed_entries.with([]).add(lines.len() as u64);
        registry.commit_time.with([]).observe_duration(took);
    }
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment {
        wall: clock.now(),
        mono: clock.monotonic(),
    }
}

fn standing(saved: &Saved, at: Moment) -> Arc<Standing> {
    let down = at.wall.since(saved.at);
    Arc::new(Standing::restored(&saved.standing, down, at.mono))
}

fn restored(
    settings: &Settings,
    saved: &Saved,
    takings: &[Taking],
    at: Moment,
) -> Arc<ArcSwap<Gates>> {
    let (now, mono) = (at.wall, at.mono);
    let pool = |platform: &Arc<crate::settings::Platform>| {
        let mut pool = Pool::new(platform.pool.clone(), mono);
        let down = now.since(saved.at);
        // Before the levels, which are of the figures that were in force.
        if let Some(mirrors) = of(&saved.mirrors, &platform.name) {
            pool.restore_mirrors(mirrors, mono);
        }
        if let Some(levels) = of(&saved.platforms, &platform.name) {
            pool.restore(levels, down, mono);
        }
        if let Some(penalties) = of(&saved.penalties, &platform.name) {
            pool.restore_penalties(penalties, down, mono);
        }
        let since = takings
            .iter()
            .filter(|it| it.reservation.raw() > saved.before);
        for taking in since.filter(|it| *it.platform == *platform.name) {
            pool.debit(&need_of(taking.need), mono);
        }
        let mut gate = Gate::new(pool);
        if let Some(learned) = of(&saved.foretelling, &platform.name) {
            gate.queue.restore_learned(learned);
        }
        (Arc::clone(&platform.name), Arc::new(Mutex::new(gate)))
    };
    let gates = settings.platforms.iter().map(pool).collect::<Gates>();
    Arc::new(ArcSwap::from_pointee(gates))
}

fn of<'a, T>(all: &'a [(String, T)], platform: &str) -> Option<&'a T> {
    let found = all.iter().find(|(name, _)| *name == platform);
    found.map(|(_, it)| it)
}

fn need_of(
    [
        units,
        requests,
        input_tokens,
        output_tokens,
        tokens,
        nano_usd,
    ]: [u64; 6],
) -> Need {
    Need {
        units,
        requests,
        input_tokens,
        output_tokens,
        tokens,
        nano_usd,
    }
}
